"""The level of noise under a log-normal prior, against a minimum that SciPy finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize_scalar

from warp_phys.likelihood.level_posterior import level_freedom, likely_log_level


def objective(
    log_level: float, squares: float, count: float, center: float, spread: float
) -> float:
    return (
        count * log_level
        + 0.5 * squares * math.exp(-2.0 * log_level)
        + 0.5 * ((log_level - center) / spread) ** 2
    )


def tensor(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


# Under a wide prior the level may be anywhere, under a narrow one a factor of 7 from its center.
@pytest.mark.parametrize(("spread", "away"), [(2.0, 12.0), (2.0, -12.0), (0.5, 2.0), (0.1, -2.0)])
@pytest.mark.parametrize("count", [1.0, 7.0, 1000.0])
@pytest.mark.parametrize("center", [0.0, -3.0])
def test_it_is_the_minimum(spread: float, away: float, count: float, center: float) -> None:
    squares = count * math.exp(2.0 * (center + away))
    found = float(likely_log_level(*map(tensor, (squares, count, center, spread))))
    given = (squares, count, center, spread)
    middle = 0.5 * math.log(squares / count)
    ends = min(middle, center) - 1.0, max(middle, center) + 1.0
    best = minimize_scalar(
        objective, bounds=ends, args=given, method="bounded", options={"xatol": 1e-12}
    )
    # The bounded search resolves a minimum to the root of the rounding of its objective.
    assert objective(found, *given) <= best.fun + 1e-9 * (1.0 + abs(best.fun))
    slope = count - squares * math.exp(-2.0 * found) + (found - center) / spread**2
    curvature = 2.0 * squares * math.exp(-2.0 * found) + spread**-2
    assert abs(slope / curvature) < 1e-6


@pytest.mark.parametrize("spread", [0.03, 0.1, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("count", [1.0, 5.0, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize("away", [-14.0, -6.0, 0.0, 4.0, 6.0, 10.0, 14.0])
@pytest.mark.parametrize("alone", [True, False])
def test_one_value_may_be_far_away(spread: float, count: float, away: float, alone: bool) -> None:
    """One residual, or all of them, are exp(away) times the center of the prior."""
    far = math.exp(2.0 * away)
    squares = count - 1.0 + far if alone else count * far

    def slope(level: float) -> float:
        return count - squares * math.exp(-2.0 * level) + level / spread**2

    found = float(likely_log_level(*map(tensor, (squares, count, 0.0, spread))))
    np.testing.assert_allclose(found, brentq(slope, -100.0, 100.0, xtol=1e-13), atol=1e-8)


def test_without_values_it_is_the_center_of_the_prior() -> None:
    found = likely_log_level(*map(tensor, (0.0, 0.0, -1.7, 0.4)))
    torch.testing.assert_close(found, tensor(-1.7), rtol=0.0, atol=1e-14)


def test_under_a_wide_prior_it_is_the_mean_square() -> None:
    found = likely_log_level(*map(tensor, (18.0, 8.0, 4.0, 1e9)))
    torch.testing.assert_close(found, 0.5 * tensor(18.0 / 8.0).log(), rtol=0.0, atol=1e-9)


def test_degrees_of_freedom_are_those_of_the_curvature() -> None:
    """The variance of log s, from the second derivative of the objective, is 1 / (2 freedom)."""
    given = (6.0, 9.0, -1.0, 0.7)
    level = likely_log_level(*map(tensor, given))
    h = 1e-4
    at = float(level)
    second = (
        objective(at + h, *given) - 2.0 * objective(at, *given) + objective(at - h, *given)
    ) / h**2
    freedom = level_freedom(tensor(6.0), level, tensor(0.7))
    np.testing.assert_allclose(float(freedom), 0.5 * second, rtol=1e-5)
