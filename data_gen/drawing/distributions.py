"""Distributions of parameters, initial states and noise levels.

Each is a frozen `scipy.stats` distribution. `simulate` accepts any object with a `ppf` method, the
inverse of the distribution function: values are drawn by inversion, x = F^-1(u), which keeps the
evenness of a sampling design in u.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

from scipy import stats

from warp_phys.systems.errors import UsageError


@runtime_checkable
class Distribution(Protocol):
    """An object with the inverse of a distribution function, vectorized over q in (0, 1)."""

    def ppf(self, q: Any) -> Any:
        """Return the quantiles at probabilities q."""


def uniform(low: float, high: float) -> Distribution:
    """Return the uniform distribution on (low, high).

    Example:
        >>> float(uniform(1.0, 3.0).ppf(0.25))
        1.5
    """
    _check(low < high, f"low < high, got uniform({low}, {high})")
    return stats.uniform(loc=low, scale=high - low)


def log_uniform(low: float, high: float) -> Distribution:
    """Return the distribution on (low, high) whose logarithm is uniform; 0 < low.

    Example:
        >>> round(float(log_uniform(0.01, 100.0).ppf(0.5)), 12)
        1.0
    """
    _check(0 < low < high, f"0 < low < high, got log_uniform({low}, {high})")
    return stats.loguniform(low, high)


def normal(mean: float, sd: float) -> Distribution:
    """Return the normal distribution of this mean and standard deviation.

    Example:
        >>> float(normal(5.0, 2.0).ppf(0.5))
        5.0
    """
    _check(sd > 0, f"sd > 0, got normal({mean}, {sd})")
    return stats.norm(loc=mean, scale=sd)


def log_normal(median: float, sigma: float) -> Distribution:
    """Return the distribution whose logarithm is normal(log(median), sigma).

    Example:
        >>> float(log_normal(10.0, 1.0).ppf(0.5))
        10.0
    """
    _check(median > 0 and sigma > 0, f"median > 0, sigma > 0, got log_normal({median}, {sigma})")
    return stats.lognorm(s=sigma, scale=median)


def truncated_normal(
    mean: float, sd: float, low: float = 0.0, high: float = math.inf
) -> Distribution:
    """Return normal(mean, sd) restricted to (low, high), by default to positive values.

    Mean and standard deviation are those before truncation.

    Example:
        >>> bool(truncated_normal(0.05, 0.05).ppf(1e-9) > 0)
        True
    """
    _check(
        sd > 0 and low < high,
        f"sd > 0 and low < high, got truncated_normal({mean}, {sd}, {low}, {high})",
    )
    # SciPy takes the limits of the standardized variable.
    return stats.truncnorm((low - mean) / sd, (high - mean) / sd, loc=mean, scale=sd)


def _check(holds: bool, expectation: str) -> None:
    if not holds:
        raise UsageError(f"expected finite numbers with {expectation}")
