r"""Forward and backward passes of a Kalman filter over linearized intervals.

Unknown at sample k are the coordinates x_k of parameters and states. With deviations d_k from the
points x_k* at which the intervals are linearized, and b_k, by which x_k* is not the end of the
interval that begins at x_{k-1}*,

    d_k = F_k d_{k-1} + w_k - b_k,  w_k ~ N(0, Q_k)     r_k = J_k d_{k-1} + noise,  N(0, s^2)

The outputs at the end of an interval are functions of the coordinates before it, J_k is their
derivative, so that a sample is taken in before the interval is passed. The random walk moves the
parameters between intervals: Q_k is its variance for a unit of time times the duration.

The backward pass is that of Bryson and Frazier: multipliers l of the dynamics, which need no
inverse of a covariance, so that known states and unknowns that are determined exactly are no
exception. The smoothed deviation at the start is m - P l_0.

References:
    A. E. Bryson, M. Frazier, Smoothing for linear and nonlinear dynamic systems, 1963.
    G. J. Bierman, Automatica 9 (1973) 621-624, doi:10.1016/0005-1098(73)90047-2.
    S. Särkkä, Bayesian Filtering and Smoothing, Cambridge, 2013, ch. 4, 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.models.information.drift.coordinate_flow import Interval
from warp_phys.models.information.rows import Rows


@dataclass(frozen=True)
class ByLevel(Rows):
    """Derivatives of mean (N, K) and covariance (N, K, K) by log s^2."""

    mean: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class Normal(Rows):
    """What is known about the coordinates of N records.

    Attributes:
        mean: (N, K), of the coordinates or of deviations from a path.
        covariance: (N, K, K), P.
        by_level: Derivatives by log s^2, see `level.py`; None where they are not needed.
    """

    mean: Tensor
    covariance: Tensor
    by_level: ByLevel | None


@dataclass(frozen=True)
class Taken(Rows):
    """What taking in a sample left behind.

    Attributes:
        known: What is known about the coordinates before the interval.
        gain: (N, O, K), Kalman gains, 0 where nothing was observed.
        pull: (N, O), innovations over their variances.
        score: (N, O), innovations over their standard deviations; NaN where nothing was observed.
        share: (N, O), derivatives of the logarithms of these variances by log s^2.
        lean: (N, O), derivatives of the innovations by log s^2, over their standard deviations.
        volume: (N, O), the variances; 1 where nothing was observed.
    """

    known: Normal
    gain: Tensor
    pull: Tensor
    score: Tensor
    share: Tensor
    lean: Tensor
    volume: Tensor


def take(known: Normal, interval: Interval, variance: Tensor) -> Taken:
    """Take in a sample, one output after the other.

    Args:
        known: About the coordinates before the interval.
        interval: The interval that ends with the sample.
        variance: (N, O), of the noise.
    """
    mean, covariance, by_level = known.mean, known.covariance, known.by_level
    seen = interval.residual.isfinite()
    residual = torch.where(seen, interval.residual, 0.0)
    parts: list[tuple[Tensor, ...]] = []
    for output in range(residual.shape[1]):
        h, noise, here = interval.jacobian[:, output], variance[:, output], seen[:, output]
        along = (covariance * h.unsqueeze(1)).sum(dim=2)
        total = noise + (along * h).sum(dim=1)
        error = residual[:, output] - (mean * h).sum(dim=1)
        gain = torch.where(here.unsqueeze(1), along / total.unsqueeze(1), 0.0)
        mean = mean + gain * error.unsqueeze(1)
        covariance = covariance - gain.unsqueeze(2) * along.unsqueeze(1)
        slope, lean = noise, torch.zeros_like(noise)
        if by_level is not None:
            by_level, slope, lean = _by_level(by_level, h, gain, noise, error, total)
        pull = torch.where(here, error / total, 0.0)
        score = torch.where(here, error / total.sqrt(), torch.nan)
        volume = torch.where(here, total, 1.0)
        parts.append((gain, pull, score, slope / total, lean / total.sqrt(), volume))
    found = (torch.stack(part, dim=1) for part in zip(*parts, strict=True))
    return Taken(Normal(mean, covariance, by_level), *found)


def _by_level(
    before: ByLevel, h: Tensor, gain: Tensor, noise: Tensor, error: Tensor, total: Tensor
) -> tuple[ByLevel, Tensor, Tensor]:
    """Return derivatives by log s^2 after a value, and those of its variance and innovation (N,).

    That of the covariance is the derivative of the Joseph form (I - k h) P (I - k h)^T + k k^T s^2;
    the derivative by the gain is zero, because the gain minimizes the variances.
    """
    steep = (before.covariance * h.unsqueeze(1)).sum(dim=2)
    slope = noise + (steep * h).sum(dim=1)
    crossed = gain.unsqueeze(2) * (0.5 * slope.unsqueeze(1) * gain - steep).unsqueeze(1)
    lean = -(before.mean * h).sum(dim=1)
    # The gain P h / v is 0 where nothing was observed, and then neither mean nor gain change.
    here = (gain != 0.0).any(dim=1)
    turned = (steep - gain * slope.unsqueeze(1)) * (error / total).unsqueeze(1)
    mean = before.mean + torch.where(here.unsqueeze(1), turned, 0.0) + gain * lean.unsqueeze(1)
    return ByLevel(mean, before.covariance + crossed + crossed.mT), slope, lean


def carry(known: Normal, interval: Interval, step: Tensor | None, variance: Tensor) -> Normal:
    """Return what is known about the coordinates after an interval.

    Args:
        known: About those before it.
        interval: The interval.
        step: (N, K), b; None for 0.
        variance: (N, F), of the random walk's step, Q.
    """
    free = variance.shape[1]
    moved = interval.transition[:, free:]
    mean = _moved(known.mean, moved)
    if step is not None:
        mean = mean - step
    covariance = _spread(known.covariance, moved)
    covariance.diagonal(dim1=1, dim2=2)[:, :free] += variance
    by_level = known.by_level
    if by_level is not None:
        by_level = ByLevel(_moved(by_level.mean, moved), _spread(by_level.covariance, moved))
    return Normal(mean, covariance, by_level)


def _moved(mean: Tensor, moved: Tensor) -> Tensor:
    """Return F d (N, K), where F has the rows `moved` (N, S, K) for states, and keeps the rest."""
    free = mean.shape[1] - moved.shape[1]
    return torch.cat([mean[:, :free], (moved * mean.unsqueeze(1)).sum(dim=2)], dim=1)


def _spread(covariance: Tensor, moved: Tensor) -> Tensor:
    """Return F P F^T of a symmetric P (N, K, K), see `_moved`."""
    free = covariance.shape[1] - moved.shape[1]
    # Sums of products: for matrices this small they are several times faster than batched products.
    crossed = (moved.unsqueeze(3) * covariance.unsqueeze(1)).sum(dim=2)
    found = covariance.clone()
    found[:, free:, :free] = crossed[:, :, :free]
    found[:, :free, free:] = crossed[:, :, :free].mT
    among = (crossed.unsqueeze(2) * moved.unsqueeze(1)).sum(dim=3)
    found[:, free:, free:] = 0.5 * (among + among.mT)
    return found


def backward(multiplier: Tensor, interval: Interval, taken: Taken) -> Tensor:
    """Return the multipliers (N, K) before an interval, from those after it."""
    found = (interval.transition * multiplier.unsqueeze(2)).sum(dim=1)
    for output in reversed(range(taken.pull.shape[1])):
        # (I - k h)^T l - h e / v
        along = (taken.gain[:, output] * found).sum(dim=1) + taken.pull[:, output]
        found = found - interval.jacobian[:, output] * along.unsqueeze(1)
    return found
