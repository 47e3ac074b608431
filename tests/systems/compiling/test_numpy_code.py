"""Traced functions on NumPy arrays against the system's own code and torch's derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.systems.compiling.traced_systems import Chain, Draining, Forced, Gates, Zoo
from warp_phys.systems import System, get_system
from warp_phys.systems.compiling.expression import evaluate
from warp_phys.systems.compiling.numpy_code import NumericFunction
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.compiling.tracing import SystemGraph, trace_system

LANES = 5
# Every kind of operation; what single systems compute is compared in C++, from the same traces.
SYSTEMS = {
    **{name: get_system(name) for name in ("damped_oscillator", "lotka_volterra", "pendulum")},
    **{type(each).__name__: each for each in (Chain(), Draining(), Forced(), Gates(), Zoo())},
}


@pytest.fixture(scope="module", params=SYSTEMS)
def case(request: pytest.FixtureRequest) -> tuple[System, SystemGraph]:
    system = SYSTEMS[request.param]
    graph = translated(system)
    assert graph is not None
    return system, graph


def functions(system: System) -> dict[str, Callable[..., Tensor]]:
    """Return what a system computes, each a function of t, y, p and u."""
    found: dict[str, Callable[..., Tensor]] = {
        "rhs": system.derivative,
        "observe": system.outputs_at,
    }
    if system.has_solution:
        found["solution"] = lambda t, y, p, u: system.solution_at(t, y, p)
    if system.has_initial_state:
        found["initial_state"] = lambda t, y, p, u: system.initial_state_at(p)
    return found


def point(system: System, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return t, y, p and u of some lanes; positive, below one, off the edges between branches."""
    generator = torch.Generator().manual_seed(seed)

    def between(count: int) -> Tensor:
        return 0.3 + 0.65 * torch.rand(count, LANES, generator=generator, dtype=torch.float64)

    u = between(len(system.inputs)) if system.inputs else None
    return between(1)[0], between(len(system.states)), between(len(system.parameters)), u


def by_torch(
    function: Callable[..., Tensor],
    arguments: tuple[Tensor, Tensor, Tensor, Tensor | None],
    directions: tuple[int, ...],
    tangents: Tensor,
) -> list[Tensor]:
    """Return the derivatives along the directions by torch's forward mode."""
    t, y, p, u = arguments
    found = []
    for direction, tangent in zip(directions, tangents, strict=True):
        along = torch.zeros_like(p)
        if direction >= 0:
            along[direction] = 1.0
        found.append(torch.func.jvp(lambda y, p: function(t, y, p, u), (y, p), (tangent, along))[1])
    return found


def test_values(case: tuple[System, SystemGraph]) -> None:
    system, graph = case
    t, y, p, u = point(system)
    for name, function in functions(system).items():
        found = NumericFunction(getattr(graph, name), ())(t, y, p, u, y[None, :0])
        assert found.shape[0] == 1
        torch.testing.assert_close(found[0], function(t, y, p, u), rtol=1e-12, atol=1e-14)


def test_derivatives(case: tuple[System, SystemGraph]) -> None:
    """Along every parameter and every initial state, the states moving any way at once."""
    system, graph = case
    t, y, p, u = point(system)
    directions = (*range(len(system.parameters)), *(-1 - s for s in range(len(system.states))))
    tangents = torch.stack([point(system, seed + 1)[1] for seed in range(len(directions))])
    for name, function in functions(system).items():
        found = NumericFunction(getattr(graph, name), directions)(t, y, p, u, tangents)
        torch.testing.assert_close(found[0], function(t, y, p, u), rtol=1e-12, atol=1e-14)
        expected = by_torch(function, (t, y, p, u), directions, tangents)
        for one, other in zip(found[1:], expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_derivatives_by_time(case: tuple[System, SystemGraph]) -> None:
    """As it passes for the inputs, too, which change at rates of their own."""
    system, graph = case
    t, y, p, u = point(system)
    rates = None if u is None else point(system, 1)[3]
    tables = {"y": y, "p": p, "u": u, "v": rates}
    variables = {"t": t.numpy()} | {
        f"{letter}[{row}]": values.numpy()
        for letter, table in tables.items()
        if table is not None
        for row, values in enumerate(table)
    }
    for name, function in functions(system).items():

        def later(s: Tensor, function: Callable[..., Tensor] = function) -> Tensor:
            moved = None if u is None or rates is None else u + s * rates
            return function(t + s, y, p, moved)

        zero = torch.zeros(LANES, dtype=torch.float64)
        expected = torch.func.jvp(later, (zero,), (zero + 1.0,))[1]
        found = evaluate(getattr(graph, name).by_time, variables)
        for one, other in zip(found, expected, strict=True):
            mine = torch.as_tensor(np.broadcast_to(one, (LANES,)).copy())
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_directions_in_any_order() -> None:
    """Only some parameters, the last one first."""
    system = SYSTEMS["lotka_volterra"]
    t, y, p, _ = point(system)
    function = NumericFunction(trace_system(system).rhs, (3, -1, 1))
    tangents = torch.stack([point(system, seed)[1] for seed in (1, 2, 3)])
    found = function(t, y, p, None, tangents)
    expected = by_torch(system.derivative, (t, y, p, None), (3, -1, 1), tangents)
    torch.testing.assert_close(found[1:], torch.stack(expected), rtol=1e-12, atol=0.0)


def test_what_is_not_finite_stays_in_its_lane() -> None:
    """Without a warning, which would fail this test."""
    system = SYSTEMS["pendulum"]
    t, y, p, _ = point(system)
    function = NumericFunction(trace_system(system).rhs, (0, 1))
    tangents = torch.zeros(2, *y.shape, dtype=torch.float64)
    before = function(t, y, p, None, tangents)
    p[0, 2] = 0.0
    y[1, 3] = torch.inf
    after = function(t, y, p, None, tangents)
    assert not after[0, 1, 2:4].isfinite().any()
    assert torch.equal(after[..., [0, 1, 4]], before[..., [0, 1, 4]])
