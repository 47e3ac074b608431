"""The fit's kernel with implicit steps: predictions of a stiff system, values alone so far."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature

import numpy as np
import pytest
import torch

from warp_phys import fit
from warp_phys.data_gen import simulate
from warp_phys.fitting.options import FitOptions
from warp_phys.likelihood.engines.compiled import CompiledEngine, libraries_of
from warp_phys.likelihood.engines.engine import Evaluation, Sums
from warp_phys.records.records import read_records
from warp_phys.systems import Robertson, integrate
from warp_phys.systems.compiling.compiler import compiler

COUNT = 5
# From decade to decade: steps are equal between two samples.
TIMES = np.array([0.0, *np.logspace(-4.0, 3.0, 15)])


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")
def test_planned_implicit_steps_agree_with_adaptive_ones() -> None:
    system = Robertson()
    data = simulate(system, COUNT, TIMES, seed=1, progress=False)
    defaults = {name: one.default for name, one in signature(fit).parameters.items()}
    options = FitOptions.from_arguments(defaults | {"initial_state": "estimate", "rtol": 1e-6})
    problem = options.problem(system, read_records(data, system, forcing=True))
    nothing = replace(problem.unknowns, entries=())
    problem = replace(problem, unknowns=nothing)
    libraries = libraries_of(problem)
    assert libraries is not None
    rows = torch.arange(COUNT)
    engine = CompiledEngine(problem, rows, torch.full((COUNT,), len(TIMES)), libraries)
    parameters = torch.tensor(data["true_parameters"].values)
    initial = torch.tensor(data["true_initial_state"].values)
    sums = Sums.empty(COUNT, 3, 0)
    predicted = torch.full((COUNT, len(TIMES), 3), torch.nan, dtype=torch.float64)
    engine.evaluate(
        Evaluation(rows, parameters, initial, sums, sensitivities=False, predicted=predicted)
    )
    assert not sums.status.any()
    expected = integrate(system, TIMES, initial, parameters, rtol=1e-10, atol=1e-14).states
    scale = expected.abs().amax(dim=1, keepdim=True)
    assert float(((predicted - expected).abs() / scale).max()) < 1e-5
    # An explicit method would need some 10^5 steps.
    assert int(engine.steps.max()) < 2000
