r"""Huber's loss: the level of the bulk of the residuals, and what outliers do to the covariance.

rho(u) = u^2 for abs(u) <= c and c (2 abs(u) - c) beyond, u the residual over its level s. With an
unknown level, s is 1.4826 times the median absolute residual, with n - p degrees of freedom.

References:
    P. J. Huber, E. M. Ronchetti, Robust Statistics, 2nd ed., Wiley, 2009, sec. 7.6-7.8.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.fitting.minimizing.levenberg_marquardt import Options, minimize
from warp_phys.fitting.minimizing.objective import Minimizer
from warp_phys.fitting.solved import Solved, evaluated, merge, setting_of
from warp_phys.likelihood.damped_step import group_maximum
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.noise_levels import held_levels
from warp_phys.likelihood.problem import FitProblem

# 95 % efficiency where the noise is normal after all.
BEND = 1.345
_MAD = 1.482602218505602
_ROUNDS, _SETTLED = 20, 1e-6


def settle_huber(problem: FitProblem, solved: Solved, options: Options) -> Solved:
    """Alternate between the level of the bulk of the residuals and the fit with Huber's loss.

    Groups whose level has settled leave, so that none depends on the others.
    """
    quiet = replace(options, report=lambda _: None)
    rows = torch.arange(len(problem))
    level = torch.full_like(solved.variance, torch.nan)
    for _ in range(_ROUNDS):
        part = problem.select(rows)
        scale = scales(part, solved.predicted[rows], len(problem.unknowns))
        moved = ~((scale / level[rows] - 1.0).abs() < _SETTLED).all(dim=1)
        moving = group_maximum(moved.double(), part.group, int(part.group.max()) + 1) > 0.0
        kept = moving[part.group].nonzero()[:, 0]
        if kept.numel() == 0 or options.out_of_time():
            break
        rows = rows[kept]
        level[rows] = scale[kept]
        again = _with_level(problem.select(rows), solved, rows, scale[kept], quiet)
        solved = merge(solved, again, rows, torch.ones(len(rows), dtype=torch.bool))
    return replace(solved, variance=level**2)


def _with_level(
    problem: FitProblem, solved: Solved, rows: Tensor, level: Tensor, options: Options
) -> Solved:
    """Fit with Huber's loss at a level (n, O), from where the solved ones are."""
    setting = setting_of(problem, 1)
    variance = torch.zeros(len(setting.levels), level.shape[1], dtype=level.dtype)
    variance[problem.group] = level**2
    engine = build_engine(problem, setting.rows, problem.counts)
    minimizer = Minimizer(
        engine,
        problem.unknowns,
        setting.rows,
        setting.group,
        held_levels(variance),
        BEND * level,
    )
    optimum = minimize(minimizer, solved.z[rows], options)
    return evaluated(
        problem,
        z=optimum.z,
        outcome=optimum.outcome[problem.group],
        iterations=solved.iterations[rows] + optimum.iterations[problem.group],
        frozen=optimum.frozen,
        excluded=optimum.excluded,
        found=(solved.tried[rows], solved.agreeing[rows], solved.optima[rows]),
    )


def scales(problem: FitProblem, predicted: Tensor, unknowns: int) -> Tensor:
    """Return the level of the bulk of the residuals, (N, O); 1 where the noise is known.

    Lanes of a group with shared unknowns, and outputs with a common level, are taken together.
    """
    residuals = problem.residuals(predicted)
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
