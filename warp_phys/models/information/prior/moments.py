"""Moments of distributions in unconstrained coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.supports import Support, contains, describe, to_unconstrained

# Quantiles whose moments stand for those of the distribution.
_POINTS = 2000


@dataclass(frozen=True)
class InCoordinates:
    """A normal prior of a quantity's coordinate.

    Attributes:
        mean: Its mean.
        sd: Its standard deviation.
    """

    mean: float
    sd: float


def check_prior(name: str, given: Any) -> None:
    """Raise UsageError unless a prior is a range, or one distribution of SciPy or torch."""
    pair = isinstance(given, tuple) and len(given) == 2 and _ascending(*given)
    if not (pair or hasattr(given, "ppf") or isinstance(given, Distribution | InCoordinates)):
        raise UsageError(
            f"expected priors[{name!r}] as a distribution, such as truncated_normal(1.0, 0.5) or "
            f"one of torch.distributions, or as a range (low, high) with low < high; got {given!r}"
        )
    size = 1
    if hasattr(given, "ppf"):
        size = np.size(given.ppf(0.5))
    elif isinstance(given, Distribution):
        size = given.batch_shape.numel() * given.event_shape.numel()
    if size != 1:
        raise UsageError(
            f"expected priors[{name!r}] as the distribution of one quantity, got {size} of them; "
            "give every quantity its own"
        )


def _ascending(low: Any, high: Any) -> bool:
    numbers = isinstance(low, Real) and isinstance(high, Real)
    return numbers and -math.inf < low < high < math.inf


def moments(name: str, given: Any, support: Support) -> tuple[float, float]:
    """Return mean and standard deviation of a quantity's coordinate.

    Args:
        name: The quantity, for messages.
        given: A distribution of its physical value with `ppf` (SciPy) or `icdf` (torch), or a range
            (low, high), which counts as uniform.
        support: Its support, whose bijection defines the coordinate.
    """
    if isinstance(given, InCoordinates):
        return given.mean, given.sd
    values = _quantiles(given)
    outside = ~contains(values, support)
    if outside.any():
        raise UsageError(
            f"the prior of {name} has values outside its support ({describe(support)}), such as "
            f"{float(values[outside][0]):g}; restrict it, for example with "
            "truncated_normal(mean, sd, low, high)"
        )
    line = to_unconstrained(values, support)
    spread = float(line.std())
    if not spread > 0.0:
        raise UsageError(f"the prior of {name} is one value; give that value as fixed instead")
    return float(line.mean()), spread


def _quantiles(given: Any) -> Tensor:
    # Midpoints of equal shares of probability: quantiles at them are as even as draws can be.
    shares = (np.arange(_POINTS) + 0.5) / _POINTS
    if isinstance(given, tuple):
        low, high = given
        return torch.from_numpy(low + (high - low) * shares)
    if hasattr(given, "ppf"):
        return torch.as_tensor(np.asarray(given.ppf(shares), dtype=np.float64))
    try:
        return given.icdf(torch.from_numpy(shares)).double().reshape(-1)
    except NotImplementedError:
        # Not every distribution of torch has quantiles.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return given.sample((20 * _POINTS,)).double().reshape(-1)
