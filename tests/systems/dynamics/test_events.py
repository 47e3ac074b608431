"""Events of systems, by every method of `integrate`, or refused with what to use instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.systems.dosing_systems import GIVEN, Infused, Late, infused, late
from tests.systems.event_systems import MARKED_CASES, EventCase, Neuron
from warp_phys.systems import Dose, Event, Input, Parameter, State, System, UsageError, integrate
from warp_phys.systems.compiling.compiler import compiler

compiled = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")


@pytest.mark.parametrize("method", ["auto", pytest.param("scipy", id="scipy")])
@pytest.mark.parametrize("case", MARKED_CASES, ids=lambda case: case.name)
def test_states_are_those_of_restarted_integrations(case: EventCase, method: str) -> None:
    expected = case.states(np.array(case.values))
    found = integrate(case.system, case.times, [case.start], [case.values], method=method)
    assert bool(found.converged.all())
    error = np.abs(found.states[0].numpy() - expected) / (np.abs(expected).max(axis=0) + 1e-3)
    assert error.max() < (1e-7 if method == "auto" else 1e-5)
    assert 0.3 * error.max() - 1e-10 < float(found.error_estimate[0])


@compiled
@pytest.mark.parametrize("case", MARKED_CASES, ids=lambda case: case.name)
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


class Tank(System):
    """A tank that is filled from outside and emptied by half whenever it is full."""

    states = (State("level", "m"), State("emptied", "1"))
    inputs = (Input("flow", "m/h"),)
    parameters = (Parameter("full", "m", range=(1.0, 3.0)),)
    default_initial_state = {"level": 0.0, "emptied": 0.0}
    events = (
        Event(
            lambda t, y, p: (y[0] > p.full) & (p.flow > 0.1),
            {"level": lambda t, y, p: 0.5 * y[0], "emptied": lambda t, y, p: y[1] + 1.0},
        ),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any, Any]:
        return p.flow, torch.zeros_like(y[1])


@pytest.mark.parametrize("method", ["auto", "scipy"])
def test_doses_inputs_and_own_sample_times(method: str) -> None:
    # Full at 2; a dose at 3 fills it above 2 while the flow is below .1, which it is until 5.
    times = [[0.0, 1.9, 2.0, 3.0, 4.9, 5.1], [0.0, 3.5, np.nan, np.nan, np.nan, np.nan]]
    found = integrate(
        Tank(),
        times,
        [[0.0, 0.0]] * 2,
        [[2.0]] * 2,
        inputs=np.array([[[1.0], [1.0], [0.0], [0.0], [0.2]]] * 2),
        input_times=[0.0, 2.5, 2.5001, 4.0, 6.0],
        doses=[Dose("level", 1.0, 3.0)],
        method=method,
    )
    level = found.states[0, :, 0].numpy()
    filled = 1.5 + 0.5 * 1e-4  # at 3, after the event at 2 and before the dose
    at_zero = filled + 1.0 + 0.05  # when the flow has come to .1, at 5
    np.testing.assert_allclose(level[:3], [0.0, 1.9, 1.0], rtol=1e-7)
    np.testing.assert_allclose(level[3], filled + 1.0, rtol=1e-7)
    np.testing.assert_allclose(level[4], filled + 1.0 + 0.05 * 0.9**2, rtol=1e-7)
    np.testing.assert_allclose(level[5], 0.5 * at_zero + 0.05 * (1.1**2 - 1.0), rtol=1e-7)
    assert found.states[0, :, 1].tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, 2.0]
    np.testing.assert_allclose(found.states[1, 1], [filled + 1.0, 1.0], rtol=1e-7)
    assert found.states[1, 2:].isnan().all()


@pytest.mark.parametrize(("system", "solution"), [(Infused(), infused), (Late(), late)])
def test_doses_that_come_late_or_over_a_while(system: Any, solution: Any) -> None:
    times = np.linspace(0.0, 12.0, 25)
    p = [0.2, 0.7, 1.5, 0.6][: len(system.parameters)]
    expected = solution(times, p)
    for method in ("auto", "rodas5p", "scipy"):
        found = integrate(system, times, [[0.0]], [p], doses=GIVEN, method=method)
        np.testing.assert_allclose(found.states[0, :, 0], expected, rtol=1e-6, atol=1e-8)


def test_methods_that_know_no_events() -> None:
    problem = (Neuron(), [0.0, 10.0], [[0.0, 0.0]], [[0.1, 10.0, 1.0, 0.3]])
    for method in ("rk4", "torchdiffeq"):
        with pytest.raises(UsageError, match=f"'{method}' knows no events, which Neuron .*'auto'"):
            integrate(*problem, method=method)


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
    start, p = [[0.0, 0.0]], [[0.1, 10.0, 1.0, 0.3]]
    found = integrate(Neuron(), [0.0, 10.0, 40.0], start, p)
    assert found.engine == "scipy"
    assert bool(found.converged.all())
    with pytest.raises(UsageError, match=r"'rk45' needs compiled code .* no C\+\+ .*scipy"):
        integrate(Neuron(), [0.0, 10.0], start, p, method="rk45")
    sources = torch.tensor(p, dtype=torch.float64, requires_grad=True)
    with pytest.raises(UsageError, match=r"gradients across the events of Neuron .* no C\+\+"):
        integrate(Neuron(), [0.0, 10.0], start, sources)


class Valve(System):
    """A valve that closes at a level: gradients need the motion of that moment."""

    states = (State("level", "m"),)
    parameters = (Parameter("top", "m", range=(0.5, 2.0)),)
    default_initial_state = {"level": 0.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any]:
        return (torch.where(y[0] < p.top, 1.0, 0.25),)


@pytest.mark.parametrize("method", ["rk4", "torchdiffeq"])
def test_gradients_that_lack_the_motion_of_a_jump(method: str) -> None:
    top = torch.tensor([[1.0]], dtype=torch.float64, requires_grad=True)
    with pytest.raises(UsageError, match=r"Valve jumps where lt\(y\[0\], p\[0\]\) changes"):
        integrate(Valve(), [0.0, 2.0], [[0.0]], top, method=method)
    found = integrate(Valve(), [0.0, 2.0], [[0.0]], top.detach(), method=method)
    assert found.states.isfinite().all()
