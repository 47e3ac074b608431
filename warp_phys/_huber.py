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

from warp_phys._fit_engine import build_engine
from warp_phys._fit_problem import FitProblem
from warp_phys._fit_solved import Solved, evaluate_at, evaluated, setting_of
from warp_phys._levenberg import Optimum, Options, minimize
from warp_phys._minimizer import Minimizer
from warp_phys._noise_levels import held_levels

# 95 % efficiency where the noise is normal after all.
BEND = 1.345
_MAD = 1.482602218505602
_ROUNDS, _SETTLED = 20, 1e-6


def settle_huber(problem: FitProblem, solved: Solved, options: Options) -> Solved:
    """Alternate between the level of the bulk of the residuals and the fit with Huber's loss."""
    setting = setting_of(problem, 1)
    z, predicted = solved.z, solved.predicted
    previous: Tensor | None = None
    quiet = replace(options, report=lambda _: None)
    optimum: Optimum | None = None
    for _ in range(_ROUNDS):
        scale = scales(problem, predicted, len(problem.unknowns))
        if previous is not None and bool(
            ((scale / previous - 1.0).abs() < _SETTLED).all() or options.out_of_time()
        ):
            break
        previous = scale
        squared = torch.zeros(len(setting.levels), scale.shape[1], dtype=scale.dtype)
        squared[problem.group] = scale**2
        levels = held_levels(squared)
        engine = build_engine(problem, setting.rows, problem.counts)
        minimizer = Minimizer(
            engine, problem.unknowns, setting.rows, setting.group, levels, BEND * scale
        )
        optimum = minimize(minimizer, z, quiet)
        z = optimum.z
        _, predicted = evaluate_at(problem, z)
    if optimum is None or previous is None:
        return solved
    mine = problem.group
    settled = evaluated(
        problem,
        z=z,
        outcome=optimum.outcome[mine],
        iterations=solved.iterations + optimum.iterations[mine],
        frozen=optimum.frozen,
        excluded=optimum.excluded,
        found=(solved.tried, solved.agreeing, solved.optima),
    )
    return replace(settled, variance=previous**2)


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
