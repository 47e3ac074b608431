"""Whether the posterior of a record is bent, so that a normal approximation does not fit it."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.models.information.marks.objective import Objective
from warp_phys.models.information.prior.prior import Prior
from warp_phys.models.information.state import Running

# Where the standard deviation along the longest direction is this share of that of the prior, or
# less, the model is linear enough.
_SHORT = 0.05
# Points at which the objective is compared with its quadratic approximation, in standard
# deviations, and the difference that counts.
_AT, _DIFFERENCE = 2.0, 0.7


def longest_direction(prior: Prior, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the direction in which the posterior is longest, compared with the prior.

    Args:
        prior: The prior.
        covariance: (N, D, D), of the posterior.

    Returns:
        v (N, D), such that the direction is measured by v^T z; the step (N, D) that one standard
        deviation along it takes the unknowns, the others following; and its share (N,) of the
        prior's standard deviation.
    """
    # In coordinates scaled by the prior, whose units do not matter.
    scale = prior.precision.diagonal().sqrt()
    scaled = covariance * scale * scale.unsqueeze(1)
    # One record without a finite covariance would make the decomposition of all of them fail.
    sound = scaled.isfinite().all(dim=2).all(dim=1)[:, None, None]
    values, vectors = torch.linalg.eigh(torch.where(sound, scaled, 0.0))
    v = vectors[..., -1] * scale
    # E[z | v^T z = v^T m + sigma] = m + C v / sigma, sigma^2 = v^T C v.
    along = (covariance @ v.unsqueeze(2)).squeeze(2)
    deviation = (along * v).sum(dim=1).sqrt()
    return v, along / deviation.unsqueeze(1), values[..., -1].clamp_min(0.0).sqrt()


def bent(
    problem: FitProblem, prior: Prior, state: Running, samples: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return which of N records have an objective that is far from quadratic along its longest way.

    Returns:
        Rows (n,), and their v (n, D) and step (n, D) of `longest_direction`.
    """
    v, step, share = longest_direction(prior, state.belief.covariance)
    rows = (share > _SHORT).nonzero()[:, 0]
    if not rows.numel():
        return rows, v[rows], step[rows]
    mine = state.select(rows)
    mean = mine.point + mine.belief.delta
    objective = Objective(problem.select(rows), prior, mine.belief.log_level, samples, lanes=3)
    points = torch.stack([mean, mean + _AT * step[rows], mean - _AT * step[rows]])
    value = objective.values(points)
    rise = value[1:] - value[0]
    far = ((rise - 0.5 * _AT**2).abs() > _DIFFERENCE).any(dim=0) | ~rise.isfinite().all(dim=0)
    rows = rows[far & value[0].isfinite()]
    return rows, v[rows], step[rows]
