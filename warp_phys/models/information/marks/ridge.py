r"""Moments of a posterior that is bent: integration along its longest direction.

A normal approximation at the optimum fails where few samples leave a combination of unknowns open
and the others follow it along a bent ridge. Let v be the direction in which the approximation is
longest, compared with the prior, and sigma the standard deviation along it. At points
a = -3, ..., 3 the other directions are optimized with v^T z = v^T z_0 + a sigma held. This
gives the ridge z(a), and there the objective Phi(a), minus the log posterior, and the information
A(a). By Laplace's approximation across the ridge, the posterior along it is

    p(a) ~ exp(-Phi(a)) det(A(a) restricted to directions across v)^(-1/2),

and mean and covariance of z are those of the mixture of normal distributions across the ridge.

References:
    L. Tierney, J. B. Kadane, J. Am. Stat. Assoc. 81 (1986) 82-86,
    doi:10.1080/01621459.1986.10478240.
    H. Rue, S. Martino, N. Chopin, J. R. Stat. Soc. B 71 (2009) 319-392,
    doi:10.1111/j.1467-9868.2008.00700.x.
"""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.models.information.marks.objective import Objective
from warp_phys.models.information.prior.prior import Prior

_POINTS, _REACH = 7, 3.0
# Steps across the ridge at each point, and the longest of them along a coordinate.
_STEPS, _LONGEST = 2, 1.0
# Weight of one point above which the others were not found; it is .4 for a normal distribution.
_ALONE = 0.9


def ridge_moments(
    problem: FitProblem,
    prior: Prior,
    z: Tensor,
    direction: tuple[Tensor, Tensor],
    log_level: Tensor,
    samples: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (N, D) and covariance (N, D, D) of posteriors, and which have one, (N,).

    Args:
        problem: N records.
        prior: The prior.
        z: (N, D), the optima.
        direction: v (N, D), and the step (N, D) along it, see `bent.longest_direction`.
        log_level: (N, O), logarithms of the noise levels.
        samples: How many samples of each record count.
    """
    v, step = direction
    offsets = torch.linspace(-_REACH, _REACH, _POINTS, dtype=torch.float64)
    points = z + offsets[:, None, None] * step
    objective = Objective(problem, prior, log_level, samples, lanes=_POINTS)
    for _ in range(_STEPS):
        _, moved, _, _ = objective.across(points, v)
        longest = moved.abs().amax(dim=2, keepdim=True)
        points = points + (moved / (longest / _LONGEST).clamp_min(1.0)).nan_to_num(0.0, 0.0, 0.0)
    value, _, across, log_volume = objective.across(points, v)
    logarithm = 0.5 * log_volume - value
    usable = logarithm.isfinite() & across.isfinite().all(dim=3).all(dim=2)
    share = torch.where(usable, logarithm, -torch.inf).softmax(dim=0).nan_to_num(0.0)
    # Where the steps across did not reach the ridge, nothing is left but the point in the middle.
    reached = share.amax(dim=0) < _ALONE
    return *_mixture(share, points, across), reached & usable.any(dim=0)


def _mixture(share: Tensor, points: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of mixtures of C normal distributions for each of N records."""
    counts = (share > 0.0).unsqueeze(2)
    points = torch.where(counts, points, 0.0)
    across = torch.where(counts.unsqueeze(3), across, 0.0)
    mean = (share.unsqueeze(2) * points).sum(dim=0)
    away = points - mean
    spread = across + away.unsqueeze(3) * away.unsqueeze(2)
    return mean, (share[..., None, None] * spread).sum(dim=0)
