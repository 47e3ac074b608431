r"""Special functions from elementary ones, which noise models need in compiled code.

References:
    M. Abramowitz, I. A. Stegun (eds.), Handbook of Mathematical Functions, 1964, 6.1.40, 6.4.12,
    26.2.12.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Recurrence relations move arguments up by this much, where the asymptotic series have 12 digits.
_UP = 8
# Below this the complementary error function would underflow soon.
_TAIL = -20.0
# Below this the slope of log Phi is -x to nearly all digits.
_FARTHEST = -1e4
# Coefficients of 1 / x, 1 / x^3, ... in the series of log Gamma.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


def log_rising(a: Tensor, y: Tensor) -> Tensor:
    r"""Return log Gamma(y + 1/a) - log Gamma(1/a) + y log a, for a > 0, y >= 0.

    For whole y this is sum_{j<y} log(1 + a j), and small a, for which the two gamma functions would
    cancel, are no exception.
    """
    # With r = 1/a and R = r + 8: Gamma(y + r) / Gamma(r) = Gamma(y + R) / Gamma(R) over the product
    # of (y + r + j) / (r + j) = 1 + a y / (1 + a j).
    total = torch.zeros_like(y)
    for j in range(_UP):
        total = total - torch.log1p(a * y / (1.0 + a * j))
    # Stirling: log Gamma(x) = (x - 1/2) log x - x + log(2 pi) / 2 + S(x).
    high = (1.0 + _UP * a) / a
    total = total + (high + y - 0.5) * torch.log1p(y / high) - y + y * torch.log1p(_UP * a)
    return total + _series(high + y) - _series(high)


def _series(x: Tensor) -> Tensor:
    """Return S(x) = 1 / (12 x) - 1 / (360 x^3) + ..., by Horner's method."""
    inverse = 1.0 / x
    square = inverse * inverse
    total = torch.zeros_like(x)
    for coefficient in reversed(_STIRLING):
        total = total * square + coefficient
    return total * inverse


def trigamma(x: Tensor) -> Tensor:
    """Return the second derivative of log Gamma, for x > 0."""
    total = torch.zeros_like(x)
    for j in range(_UP):
        total = total + (x + j).square().reciprocal()
    inverse = (x + _UP).reciprocal()
    square = inverse * inverse
    odd = 1.0 / 6.0 + square * (-1.0 / 30.0 + square * (1.0 / 42.0 - square / 30.0))
    return total + inverse * (1.0 + inverse * (0.5 + inverse * odd))


def log_normal_cdf(x: Tensor) -> Tensor:
    """Return the logarithm of the standard normal distribution function, in both tails."""
    far = x < _TAIL
    inside = torch.where(far, 0.0, x)
    # For large x the distribution function is 1 less a small number, whose digits matter.
    upper = torch.log1p(-0.5 * torch.special.erfc(inside.clamp_min(0.0) / math.sqrt(2.0)))
    lower = (0.5 * torch.special.erfc(-inside.clamp_max(0.0) / math.sqrt(2.0))).log()
    near = torch.where(inside > 0.0, upper, lower)
    # Phi(x) = phi(x) / -x (1 - 1 / x^2 + 1 3 / x^4 - 1 3 5 / x^6 + ...)
    t = torch.where(far, x, _TAIL)
    square = t.square().reciprocal()
    series = torch.ones_like(x)
    for odd in (13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0):
        series = 1.0 - odd * square * series
    tail = -0.5 * t.square() - (-t).log() - 0.5 * math.log(2.0 * math.pi) + series.log()
    return torch.where(far, tail, near)


def log_normal_cdf_and_slopes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log Phi(x), its slope h = phi(x) / Phi(x), and h (x + h), minus its curvature."""
    log = log_normal_cdf(x)
    hazard = (-0.5 * x.square() - 0.5 * math.log(2.0 * math.pi) - log).exp()
    # For very negative x, h is -x + 1/x up to rounding, and h (x + h) tends to 1.
    curvature = torch.where(x < _FARTHEST, 1.0, hazard * (x + hazard))
    return log, torch.where(x < _FARTHEST, -x, hazard), curvature
