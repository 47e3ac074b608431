"""Compiled integration is that of PyTorch, whatever the batch and the number of threads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.systems.compiling.traced_systems import Forced
from tests.systems.problems import HARE, RATE, Explosion, many, needs_compiler, problem
from warp_phys.systems import (
    CoupledOscillators,
    Dose,
    LotkaVolterra,
    Pendulum,
    State,
    Status,
    System,
    UsageError,
    VanDerPol,
    integrate,
)
from warp_phys.systems.compiling import compiler as _compiler
from warp_phys.systems.dynamics.problem import Problem, Solution
from warp_phys.systems.dynamics.stepping import compiled as _compiled
from warp_phys.systems.dynamics.stepping.adaptive import solve_adaptive
from warp_phys.systems.dynamics.stepping.compiled import flow_library, solve_compiled

pytestmark = needs_compiler
METHODS = ["dop853", "rk45", "rodas5p"]


def plain() -> Problem:
    """Return more trajectories than lanes, on grids of different length."""
    states, parameters = many(21)
    grid = np.linspace(0.0, 12.0, 8)[None] * np.linspace(0.5, 1.0, 21)[:, None]
    grid[::3, 5:] = np.nan
    grid[4, 1:] = np.nan
    return problem(LotkaVolterra(), grid, states, parameters, rtol=1e-6)


def driven() -> Problem:
    """Return trajectories with two inputs at times of their own, and doses."""
    rng = np.random.default_rng(1)
    count = 11
    knots = np.sort(rng.uniform(-1.0, 5.0, (count, 6)), axis=1)
    knots[2, 3:] = np.nan
    knots[5, 1:] = np.nan
    when = rng.uniform(0.0, 4.0, count)
    when[::4] = np.nan
    return problem(
        Forced(),
        np.linspace(0.0, 4.0, 7),
        rng.normal(size=(count, 2)),
        np.stack([np.ones(count), np.full(count, 0.3), np.full(count, 9.81)], axis=1),
        inputs=rng.normal(size=(count, 6, 2)),
        input_times=knots,
        doses=[Dose("v", rng.normal(size=count), when), Dose("x", 1.0, 0.0), Dose("x", 0.5, 2.0)],
    )


def failing() -> Problem:
    """Return a trajectory that goes on, one that explodes, and one without a derivative."""
    states = [[0.3], [1.0], [1e200]]
    return problem(Explosion(), np.linspace(0.0, 1.5, 16), states, [[1.0]] * 3, rtol=1e-6)


def limited() -> Problem:
    """Return a trajectory that ends in time and one that does not."""
    states = [[30.0, 4.0], [1e9, 1e9]]
    return problem(LotkaVolterra(), [0.0, 10.0], states, [HARE] * 2, max_steps=400)


def compiled(given: Problem, method: str) -> Solution:
    library = flow_library(given, method)
    assert library is not None
    return solve_compiled(given, method, library)


CASES = [
    *((plain, method) for method in METHODS),
    *((case, method) for case in (driven, failing) for method in ("dop853", "rodas5p")),
    (limited, "dop853"),
]


@pytest.mark.parametrize(("case", "method"), CASES)
def test_compiled_code_gives_what_torch_gives(case: Any, method: str) -> None:
    given = case()
    ours, expected = compiled(given, method), solve_adaptive(given, method)
    assert (ours.engine, expected.engine) == ("compiled", "torch")
    assert ours.status.tolist() == expected.status.tolist()
    assert torch.equal(ours.states.isnan(), expected.states.isnan())
    intact = expected.converged
    scale = expected.states.abs().nan_to_num().amax(dim=1, keepdim=True)
    gap = ((ours.states - expected.states).abs().nan_to_num() / scale)[intact]
    assert float(gap.max()) < 1e-12
    # The estimate is a small difference of the states, and so carries their rounding.
    torch.testing.assert_close(
        ours.error_estimate[intact], expected.error_estimate[intact], rtol=1e-2, atol=1e-14
    )


def test_failures_are_what_they_should_be() -> None:
    for method in ("dop853", "rodas5p"):
        status = compiled(failing(), method).status.tolist()
        assert status == [Status.CONVERGED, Status.DIVERGED, Status.DIVERGED]


@pytest.mark.parametrize("method", METHODS)
def test_neither_threads_nor_neighbors_matter(method: str) -> None:
    """Bit for bit; more trajectories than one thread takes at a time."""
    states, parameters = many(700)
    given = problem(LotkaVolterra(), np.arange(6.0), states, parameters, rtol=1e-6)
    whole = compiled(given, method)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            again = compiled(given, method)
            assert torch.equal(again.states, whole.states)
            assert torch.equal(again.error_estimate, whole.error_estimate)
    finally:
        torch.set_num_threads(threads)
    order = torch.randperm(700, generator=torch.Generator().manual_seed(0))
    mixed = compiled(given.select(order), method)
    assert torch.equal(mixed.states, whole.states[order])
    assert torch.equal(mixed.error_estimate, whole.error_estimate[order])
    for row in (0, 333, 699):
        alone = compiled(given.select(slice(row, row + 1)), method)
        assert torch.equal(alone.states[0], whole.states[row])
        assert torch.equal(alone.error_estimate[0], whole.error_estimate[row])


def test_stops_of_neighbors_do_not_matter() -> None:
    given = driven()
    whole = compiled(given, "dop853")
    for row in range(11):
        alone = compiled(given.select(slice(row, row + 1)), "dop853")
        assert torch.equal(alone.states[0], whole.states[row])


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARP_PHYS_COMPILER", "none")


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_torch_computes() -> None:
    arguments = VanDerPol(), [0.0, 5.0], [[2.0, 0.0]] * 2, [[1.0], [1000.0]]
    slow = integrate(*arguments)
    assert slow.engine == "torch"
    assert slow.compile_seconds == 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WARP_PHYS_COMPILER")
        fast = integrate(*arguments)
    assert fast.engine == "compiled"
    torch.testing.assert_close(slow.states, fast.states, rtol=1e-11, atol=1e-13)


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_gradients_are_those_of_torchdiffeq() -> None:
    parameters = torch.tensor([HARE], dtype=torch.float64, requires_grad=True)
    solution = integrate(LotkaVolterra(), [0.0, 2.0], [[30.0, 4.0]], parameters)
    assert solution.engine == "torchdiffeq"
    with pytest.raises(UsageError, match=r"with compiled code; use 'torchdiffeq' or 'rk4'"):
        integrate(LotkaVolterra(), [0.0, 2.0], [[30.0, 4.0]], parameters, method="dop853")


def test_single_precision_is_left_to_torch() -> None:
    states, parameters = (value.float() for value in many(3))
    solution = integrate(LotkaVolterra(), [0.0, 1.0], states, parameters, rtol=1e-4, atol=1e-5)
    assert solution.engine == "torch"


def test_a_system_that_cannot_be_traced_is_left_to_torch() -> None:
    class Gamma(System):
        """y' = -rate lgamma(3 + y), which the translation does not know."""

        states = (State("y", "1"),)
        parameters = (RATE,)

        def rhs(self, t: Any, y: Tensor, p: Any) -> Tensor:
            return -p.rate * torch.lgamma(3.0 + y)

    arguments = Gamma(), [0.0, 1.0], [[1.0]], [[1.0]]
    solution = integrate(*arguments)
    assert solution.engine == "torch"
    reference = integrate(*arguments, method="scipy", rtol=1e-10)
    torch.testing.assert_close(solution.states, reference.states, rtol=1e-7, atol=0.0)


def test_the_time_to_compile_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: who comes next, another process say, finds the library on the disk."""
    monkeypatch.setenv("WARP_PHYS_CACHE", str(tmp_path))
    for is_compiled in (True, False):
        monkeypatch.setattr(_compiler, "_loaded", {})
        solution = integrate(Explosion(), [0.0, 1.0], [[0.5]], [[1.0]], method="rk45")
        assert solution.engine == "compiled"
        assert (solution.compile_seconds > 0.0) is is_compiled


def ranks(values: Tensor) -> Tensor:
    return values.argsort().argsort().double()


@pytest.mark.parametrize(
    ("system", "method", "rtol", "end"),
    [
        (LotkaVolterra(), "dop853", 1e-6, 20.0),
        (Pendulum(), "dop853", 1e-6, 10.0),
        (VanDerPol(), "dop853", 1e-6, 20.0),
        (LotkaVolterra(), "rk45", 1e-6, 20.0),
        (LotkaVolterra(), "rodas5p", 1e-6, 20.0),
        (VanDerPol(), "rodas5p", 1e-6, 20.0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, System) else None,
)
def test_the_error_estimate_is_the_error(
    system: System, method: str, rtol: float, end: float
) -> None:
    generator = torch.Generator().manual_seed(4)
    low, high = (
        torch.tensor([(p.range or (p.fixed, p.fixed))[side] for p in system.parameters]).double()
        for side in (0, 1)
    )
    unit = torch.rand(400, len(low), generator=generator, dtype=torch.float64)
    ends = [v if isinstance(v, tuple) else (v, v) for v in system.default_initial_state.values()]
    first = torch.tensor(ends, dtype=torch.float64)
    start = first[:, 0] + (first[:, 1] - first[:, 0]) * torch.rand(
        400, len(ends), generator=generator, dtype=torch.float64
    )
    given = problem(
        system, np.linspace(0.0, end, 21), start, low + (high - low) * unit, rtol=rtol, atol=1e-8
    )
    solution = compiled(given, method)
    truth = compiled(replace(given, rtol=1e-13, atol=1e-7 * given.atol), "dop853").states
    whole = solution.converged & truth.isfinite().all(dim=2).all(dim=1)
    assert whole.double().mean() > 0.9
    scale = given.atol.T / given.rtol + truth.abs().amax(dim=1)
    error = ((solution.states - truth).abs().amax(dim=1) / scale).amax(dim=1)[whole]
    estimate = solution.error_estimate[whole]
    assert float((estimate / error).median()) == pytest.approx(1.0, abs=0.05)
    both = torch.stack([ranks(estimate), ranks(error)])
    assert float(torch.corrcoef(both)[0, 1]) > 0.8


def test_what_should_not_change_does_not() -> None:
    """At the default tolerances, over a long time."""
    times = np.linspace(0.0, 30.0, 61)
    states, parameters = many(50, seed=2)
    solution = integrate(LotkaVolterra(), times, states, parameters)
    prey, predator = solution.states.unbind(2)
    alpha, beta, gamma, delta = parameters.T[:, :, None]
    integral = delta * prey - gamma * prey.log() + beta * predator - alpha * predator.log()
    scale = (delta * prey).abs().amax(1) + (beta * predator).abs().amax(1) + 5.0
    assert ((integral - integral[:, :1]).abs().amax(1) < 1e-6 * scale).all()
    swing = integrate(Pendulum(), times, [[2.5, 0.0], [1.0, 3.0]], [[1.0, 1e-15, 9.81]] * 2)
    angle, velocity = swing.states.unbind(2)
    energy = 0.5 * velocity**2 - 9.81 * angle.cos()
    assert ((energy - energy[:, :1]).abs() < 1e-6 * 9.81).all()


def test_a_system_too_large_for_the_stack_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compiled, "LARGEST_STACK", 1)
    start = [[0.1, 0.0, 0.0, 0.0]]
    solution = integrate(CoupledOscillators(masses=2), [0.0, 0.1], start, [[1.0] * 4])
    assert solution.engine == "torch"
    assert solution.converged.all()
