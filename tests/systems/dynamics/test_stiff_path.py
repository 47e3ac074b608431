"""Which trajectories "auto" calls stiff, and who solves them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.systems.problems import RATE, needs_compiler
from warp_phys.systems import State, Status, System, VanDerPol, integrate

TIMES = np.array([0.0, 50.0, 100.0])


class Kinked(System):
    """A stiff state beside one whose derivative by itself is not defined after t = 1."""

    states = (State("u", "1"), State("w", "1"))
    parameters = (RATE,)

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        u, w = y
        left = ((1.0 - t) * (1.0 + w**2)).clamp(min=0.0)
        return -p.rate * (u - torch.cos(t)), torch.sqrt(left)


def test_each_trajectory_gets_the_method_it_needs() -> None:
    start, rates = [[2.0, 0.0]] * 4, [[1.0], [1000.0], [3.0], [300.0]]
    together = integrate(VanDerPol(), TIMES, start, rates)
    assert together.converged.all()
    for row, method in enumerate(("dop853", "rodas5p", "dop853", "rodas5p")):
        one = slice(row, row + 1)
        alone = integrate(VanDerPol(), TIMES, start[one], rates[one])
        named = integrate(VanDerPol(), TIMES, start[one], rates[one], method=method)
        for solution in (alone, named):
            assert torch.equal(together.states[row], solution.states[0])
            assert torch.equal(together.error_estimate[row], solution.error_estimate[0])
    # On the slow branch mu (1 - x^2) x' = x: t / mu = ln(x / 2) - (x^2 - 4) / 2.
    position = together.states[1, :, 0].numpy()
    slow = 1000.0 * (np.log(position / 2.0) - 0.5 * (position**2 - 4.0))
    np.testing.assert_allclose(slow, TIMES, atol=0.01)


@needs_compiler
def test_the_engine_is_told() -> None:
    assert integrate(VanDerPol(), TIMES, [[2.0, 0.0]] * 2, [[1.0], [1000.0]]).engine == "compiled"


@pytest.mark.parametrize("method", ["dop853", "rk45"])
def test_without_the_stiff_path_a_stiff_trajectory_is_given_up(method: str) -> None:
    solution = integrate(VanDerPol(), [0.0, 50.0], [[2.0, 0.0]], [[1000.0]], method=method)
    assert solution.status.tolist() == [Status.TOO_MANY_STEPS]
    assert solution.states[0, 1].isnan().all()


def test_the_last_resort_is_scipy() -> None:
    """Radau keeps an old Jacobian where the newest is not a number; the same batch has others."""
    grid = np.array([[0.0, 0.5, 0.9], [0.0, 0.5, 0.9], [0.0, 0.5, 3.0]])
    start, rates = [[1.0, 0.1]] * 3, [[1.0], [1e6], [1e6]]
    together = integrate(Kinked(), grid, start, rates)
    assert together.converged.all()
    assert together.engine.endswith(" and scipy")
    for row, method in enumerate(("dop853", "rodas5p", "scipy-stiff")):
        one = slice(row, row + 1)
        named = integrate(Kinked(), grid[one], start[one], rates[one], method=method)
        assert torch.equal(together.states[row], named.states[0])
    lost = integrate(Kinked(), grid[2:], start[2:], rates[2:], method="rodas5p")
    assert lost.status.tolist() == [Status.DIVERGED]
