r"""Huber's loss: the level of the bulk of the residuals, and what outliers do to the covariance.

rho(u) = u^2 for abs(u) <= c and c (2 abs(u) - c) beyond, u the residual over its level s. With an
unknown level, s is 1.4826 times the median absolute residual, with n - p degrees of freedom.

References:
    P. J. Huber, E. M. Ronchetti, Robust Statistics, 2nd ed., Wiley, 2009, sec. 7.6-7.8.
"""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys._fit_problem import FitProblem

# 95 % efficiency where the noise is normal after all.
BEND = 1.345
_MAD = 1.482602218505602


def scales(problem: FitProblem, predicted: Tensor, unknowns: int) -> Tensor:
    """Return the level of the bulk of the residuals, (N, O); 1 where the noise is known.

    Lanes of a group with shared unknowns, and outputs with a common level, are taken together.
    """
    residuals = problem.residuals(predicted, slice(None))
    count, _, outputs = residuals.shape
    if problem.noise == "known":
        return torch.ones(count, outputs, dtype=residuals.dtype)
    size = residuals.abs()
    if problem.unknowns.shared:
        return _grouped(problem, size, unknowns)
    if problem.noise == "common":
        size = size.flatten(1, 2).unsqueeze(2)
    values = size.isfinite().sum(dim=1)
    total = values.sum(dim=1, keepdim=True).double()
    free = (total / (total - unknowns).clamp_min(1.0)).sqrt()
    level = _MAD * size.nanmedian(dim=1).values * free
    return _positive(level.expand(count, outputs), residuals)


def _grouped(problem: FitProblem, size: Tensor, unknowns: int) -> Tensor:
    shared = problem.unknowns.shared
    level = torch.zeros_like(size[:, 0])
    for group in range(int(problem.group.max()) + 1):
        rows = (problem.group == group).nonzero()[:, 0]
        part = size[rows].flatten(0, 1)
        if problem.noise == "common":
            part = part.reshape(-1, 1)
        total = float(size[rows].isfinite().sum())
        estimated = shared + len(rows) * (unknowns - shared)
        free = (total / max(total - estimated, 1.0)) ** 0.5
        level[rows] = _MAD * part.nanmedian(dim=0).values * free
    return _positive(level, size)


def _positive(level: Tensor, residuals: Tensor) -> Tensor:
    """Keep the level off zero, where more than half of the residuals vanish."""
    least = 1e-12 + 1e-3 * residuals.square().nanmean(dim=1).sqrt()
    return level.nan_to_num(0.0).maximum(least.nan_to_num(1e-12))
