"""Events that systems declare, by every method of `integrate`, or refused with what to use instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.systems.dosing_systems import GIVEN, Infused, Late
from tests.systems.event_systems import CASES, EventCase, Neuron
from warp_phys.systems import Dose, Event, Input, Parameter, State, System, UsageError, integrate
from warp_phys.systems.compiling.compiler import compiler

compiled = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")


@pytest.mark.parametrize("method", ["auto", pytest.param("scipy", id="scipy")])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_states_are_those_of_restarted_integrations(case: EventCase, method: str) -> None:
    expected = case.states(np.array(case.values))
    found = integrate(case.system, case.times, [case.start], [case.values], method=method)
    assert bool(found.converged.all())
    error = np.abs(found.states[0].numpy() - expected) / (np.abs(expected).max(axis=0) + 1e-3)
    assert error.max() < (1e-7 if method == "auto" else 1e-5)
    assert 0.3 * error.max() - 1e-10 < float(found.error_estimate[0])


@compiled
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradients_are_differences(case: EventCase) -> None:
    values, start = (
        torch.tensor(np.array([one], dtype=float), requires_grad=True)
        for one in (case.values, case.start)
    )
    last = integrate(case.system, case.times, start, values, rtol=1e-10).states[0, -1]
    slopes = np.array([torch.autograd.grad(one, values, retain_graph=True)[0][0] for one in last])
    ends = case.times[[0, -1]]
    for place, value in enumerate(case.values):
        moved = []
        for move in (1e-4, -1e-4):
            at = np.array(case.values)
            at[place] += move * abs(value)
            moved.append(case.states(at, ends)[-1])
        expected = (moved[0] - moved[1]) / (2e-4 * abs(value))
        scale = 1e-4 * np.abs(slopes).max() + 1e-6
        np.testing.assert_allclose(slopes[:, place], expected, atol=scale)
