"""Inputs: tables of their own times, linear or held, for every method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.systems.problems import ADAPTIVE, HARE, Driven, Held, driven, many
from warp_phys.systems import LotkaVolterra, System, UsageError, integrate

METHODS = [*ADAPTIVE, "rk4"]
TIMES = np.array([0.0, 0.4, 1.0, 1.5, 3.0])


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "knots",
    [
        pytest.param([-2.0, -0.5, 0.25, 0.4, 2.0, 5.0], id="before, between, at and after"),
        pytest.param([-3.0, -2.0], id="all before"),
        pytest.param([7.0, 8.0], id="all after"),
        pytest.param([0.7, 1.2], id="within one sample interval and the next"),
        pytest.param([1.0], id="one"),
    ],
)
def test_tables_at_times_of_their_own(method: str, held: bool, knots: list[float]) -> None:
    system = Held() if held else Driven()
    push = np.array([1.0, -2.0, 3.0, 0.5, -1.0, 4.0])[: len(knots)]
    rates, starts = [0.5, 2.0], [1.0, -1.0]
    table = np.stack([push, 2.0 * push])[:, :, None]
    solution = integrate(
        system,
        TIMES,
        np.array(starts)[:, None],
        np.array(rates)[:, None],
        inputs=table,
        input_times=knots,
        method=method,
        substeps=40,
    )
    assert solution.converged.all()
    tolerance = 1e-6 if method in ("rk4", "rk45") else 1e-7
    for row, values in enumerate(table[:, :, 0]):
        exact = driven(TIMES, starts[row], rates[row], knots, values, held)
        np.testing.assert_allclose(solution.states[row, :, 0], exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_each_trajectory_has_a_table_of_its_own(method: str) -> None:
    knots = np.array(
        [[0.2, 0.9, 1.1, 2.5], [0.5, np.nan, np.nan, np.nan], [-1.0, 4.0, np.nan, np.nan]]
    )
    push = np.array(
        [[1.0, 2.0, -1.0, 0.0], [3.0, np.nan, np.nan, np.nan], [1.0, 6.0, 99.0, np.nan]]
    )
    grid = np.array([[0.0, 1.0, 3.0], [0.0, 2.0, np.nan], [0.5, 1.5, 2.5]])
    solution = integrate(
        Driven(),
        grid,
        [[1.0]] * 3,
        [[0.7]] * 3,
        inputs=push[:, :, None],
        input_times=knots,
        method=method,
        substeps=40,
    )
    assert solution.converged.all()
    for row in range(3):
        known, inside = ~np.isnan(grid[row]), ~np.isnan(knots[row])
        exact = driven(grid[row, known], 1.0, 0.7, knots[row, inside], push[row, inside])
        found = solution.states[row, known, 0]
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6)
    assert solution.states[1, 2].isnan().all()


@pytest.mark.parametrize("method", METHODS)
def test_inputs_at_the_samples_are_held_before_them(method: str) -> None:
    """With rate 0 the state is the integral of the input, a sum of trapezoids."""
    grid = np.array([[1.0, 2.0, 4.0], [1.0, 1.5, np.nan]])
    push = np.array([[[1.0], [3.0], [-1.0]], [[2.0], [4.0], [np.nan]]])
    solution = integrate(
        Driven(), grid, [[0.0], [0.0]], [[0.0], [0.0]], inputs=push, initial_time=0.0, method=method
    )
    assert solution.converged.all()
    expected = [[1.0, 3.0, 5.0], [2.0, 3.5, np.nan]]
    np.testing.assert_allclose(solution.states[:, :, 0], expected, rtol=1e-9)


def test_a_single_sample_with_an_input_holds_it() -> None:
    solution = integrate(
        Driven(), [2.0], [[1.0]], [[0.0]], inputs=np.array([[[3.0]]]), initial_time=0.0
    )
    assert float(solution.states[0, 0, 0]) == pytest.approx(7.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_hole_in_a_table_spoils_its_own_trajectory_only(method: str) -> None:
    push = np.ones((3, 4, 1))
    push[1, 2] = np.nan
    push[2, 0] = np.inf
    arguments = Driven(), [0.0, 1.0], [[0.5]] * 3, [[1.0]] * 3
    solution = integrate(*arguments, inputs=push, input_times=[0.0, 0.2, 0.5, 0.9], method=method)
    assert solution.status.tolist() == [0, 3, 3]
    assert solution.states[1:].isnan().all()
    assert float(solution.states[0, 1, 0]) == pytest.approx(1.0 - 0.5 * np.exp(-1.0), rel=1e-4)


def solve(system: System | None = None, **options: Any) -> Any:
    return integrate(system or Driven(), [0.0, 1.0, 2.0], [[1.0]] * 2, [[0.5]] * 2, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"Driven has external inputs \(push\); expected inputs of shape \(2, 3, 1\), .*none"),
        (
            {"inputs": np.zeros((2, 3))},
            r"\(N, T, I\) = \(2, 3, 1\), one column for each of push; received \(2, 3\)",
        ),
        ({"inputs": np.zeros((2, 3, 1), dtype=np.float32)}, "received float32"),
        (
            {"inputs": np.zeros((2, 3, 1)), "input_times": [0.0, 1.0]},
            r"expected inputs of shape .*\(2, 2, 1\).*received \(2, 3, 1\)",
        ),
        (
            {"inputs": np.zeros((2, 3, 1)), "input_times": [0.0, 2.0, 1.0]},
            "input_times should increase strictly.*trajectory 0 goes from 2 to 1 at sample 2",
        ),
        (
            {"inputs": np.zeros((2, 2, 1)), "input_times": np.array([[0.0, 1.0], [np.nan, 1.0]])},
            "input_times of trajectory 1 start with NaN; pad with NaN at the end only",
        ),
        (
            {"inputs": np.zeros((2, 2, 1)), "input_times": np.array([0, 1])},
            "expected input_times in float64",
        ),
        (
            {"inputs": np.zeros((2, 3, 1)), "input_times": np.zeros((3, 3))},
            r"expected input_times of shape .*\(2, T\).*received \(3, 3\)",
        ),
        ({"input_times": [0.0, 1.0]}, r"expected inputs of shape \(2, 2, 1\), received none"),
    ],
)
def test_what_cannot_be_a_table(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        solve(**options)


@pytest.mark.parametrize(
    "options", [{"inputs": np.zeros((2, 3, 1))}, {"input_times": np.arange(3.0)}]
)
def test_a_system_without_inputs_takes_none(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="LotkaVolterra has no external inputs; received inputs"):
        integrate(LotkaVolterra(), [0.0, 1.0, 2.0], many(2)[0], [HARE] * 2, **options)
