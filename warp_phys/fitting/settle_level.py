r"""Fits with a loss that is not squared: noise level and fit alternate until both converge.

With a loss rho of residuals over their level s, s cannot be eliminated from the likelihood as it
can for squared loss. Given the fit, the noise model estimates s from the residuals: by maximum
likelihood for a density of its own, from their median for Huber's loss. Given s, the fit minimizes
the sum of rho.

References:
    P. J. Huber, E. M. Ronchetti, Robust Statistics, 2nd ed., Wiley, 2009, sec. 7.8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.fitting.setting import setting_of
from warp_phys.fitting.solved import Solved, evaluated, merge
from warp_phys.likelihood.damped_step import group_maximum
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.groups import unknowns_of_group
from warp_phys.likelihood.noise_levels import held_levels
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.levenberg_marquardt import minimize
from warp_phys.minimizing.objective import Minimizer
from warp_phys.minimizing.optimum import Options, Outcome

# Alternations at most, and the relative change of the level at which it has converged.
_ROUNDS, _SETTLED = 20, 1e-6
# The change after the last round from which on a fit has not converged: a median can jump between
# two residuals for ever, and the standard errors with it.
_UNSETTLED = 1e-3

Estimate = Callable[[Tensor, Tensor, Tensor], Tensor]


def settle_level(problem: FitProblem, solved: Solved, options: Options) -> Solved:
    """Alternate between the level of the noise and the fit with its loss at that level.

    Groups whose level has converged leave the batch, so that none depends on the others.

    Args:
        problem: The problem, with the loss of its noise model.
        solved: Fits by least squares.
        options: Options of the fit.
    """
    quiet = options.quiet()
    rows = torch.arange(len(problem))
    level = torch.full_like(solved.variance, torch.nan)
    for _ in range(_ROUNDS):
        part = problem.select(rows)
        found = levels(part, solved.predicted[rows], problem.distribution.level)
        kept = _moving(part, found, level[rows], _SETTLED)
        if kept.numel() == 0:
            break
        if options.out_of_time():
            solved = _ended(solved, rows[kept], Outcome.OUT_OF_TIME)
            break
        rows = rows[kept]
        level[rows] = found[kept]
        again = _with_level(problem.select(rows), solved, rows, found[kept], quiet)
        solved = merge(solved, again, rows, torch.ones(len(rows), dtype=torch.bool))
    else:
        part = problem.select(rows)
        found = levels(part, solved.predicted[rows], problem.distribution.level)
        kept = _moving(part, found, level[rows], _UNSETTLED)
        solved = _ended(solved, rows[kept], Outcome.OUT_OF_ITERATIONS)
    return replace(solved, variance=level**2)


def _moving(problem: FitProblem, found: Tensor, level: Tensor, tolerance: float) -> Tensor:
    """Return the numbers (k,) of trajectories in groups whose level (n, O) has changed."""
    # Written with a negation: the level is NaN before the first round, and NaN counts as moved.
    moved = ~((found / level - 1.0).abs() < tolerance).all(dim=1)
    moving = group_maximum(moved.double(), problem.group, int(problem.group.max()) + 1) > 0.0
    return moving[problem.group].nonzero()[:, 0]


def _ended(solved: Solved, rows: Tensor, outcome: Outcome) -> Solved:
    """Return fits of which some converged, but not at the level of their loss."""
    outcomes = solved.outcome.clone()
    unsettled = rows[outcomes[rows] == Outcome.CONVERGED]
    outcomes[unsettled] = int(outcome)
    return replace(solved, outcome=outcomes)


def _with_level(
    problem: FitProblem, solved: Solved, rows: Tensor, level: Tensor, options: Options
) -> Solved:
    """Fit with the loss of the noise at a level (n, O), starting from the solved fits."""
    setting = setting_of(problem)
    # The loss already is of residuals over their level, by way of `precision`, so that the
    # objective is half its sum, with weights of one.
    one = torch.ones(len(setting.levels), level.shape[1], dtype=level.dtype)
    engine = build_engine(problem, setting.rows, problem.counts)
    minimizer = Minimizer(
        engine,
        problem.unknowns,
        setting.rows,
        setting.group,
        held_levels(one),
        precision=level**-2,
    )
    optimum = minimize(minimizer, solved.z[rows], options)
    return evaluated(
        # The information at the optimum may be summed differently from the steps, see
        # `Noise.summed`.
        replace(problem, distribution=problem.distribution.summed()),
        z=optimum.z,
        outcome=optimum.outcome[problem.group],
        iterations=solved.iterations[rows] + optimum.iterations[problem.group],
        frozen=optimum.frozen,
        excluded=optimum.excluded,
        found=(solved.tried[rows], solved.agreeing[rows], solved.optima[rows]),
        precision=level**-2,
    )


def levels(problem: FitProblem, predicted: Tensor, estimate: Estimate) -> Tensor:
    """Return noise levels (N, O) for residuals of predictions (N, T, O); 1 where they are known.

    Lanes of a group with shared unknowns, and outputs with a common level, are pooled.

    Args:
        problem: The problem that was fitted.
        predicted: Predictions.
        estimate: A method of the noise model: `Noise.level` or `Noise.likely_level`.
    """
    residuals = problem.residuals(predicted)
    count, _, outputs = residuals.shape
    if problem.noise == "known":
        return torch.ones(count, outputs, dtype=residuals.dtype)
    observed = torch.where(residuals.isfinite(), problem.records.observed, torch.nan)
    if problem.unknowns.shared:
        return _positive(_grouped(problem, observed, predicted, estimate), residuals)
    total = residuals.isfinite().sum(dim=(1, 2)).double()
    # sqrt(n / (n - p)): the factor from the level of the residuals to that of the noise, which the
    # noise model applies where its estimator needs it.
    estimated = problem.unknowns.estimated().sum(dim=1)
    share = (total / (total - estimated).clamp_min(1.0)).sqrt().unsqueeze(1)
    if problem.noise == "common":
        observed, predicted = (part.reshape(count, -1, 1) for part in (observed, predicted))
    level = estimate(observed, predicted, share)
    return _positive(level.expand(count, outputs), residuals)


def _grouped(
    problem: FitProblem, observed: Tensor, predicted: Tensor, estimate: Estimate
) -> Tensor:
    free = problem.unknowns.estimated()
    estimated = unknowns_of_group(problem, free, torch.ones(len(problem), dtype=torch.bool))
    columns = 1 if problem.noise == "common" else observed.shape[2]
    level = torch.zeros_like(observed[:, 0])
    for group in range(int(problem.group.max()) + 1):
        rows = (problem.group == group).nonzero()[:, 0]
        values, model = (part[rows].reshape(1, -1, columns) for part in (observed, predicted))
        total = observed[rows].isfinite().sum().double()
        share = (total / (total - estimated[rows[0]]).clamp_min(1.0)).sqrt().reshape(1, 1)
        level[rows] = estimate(values, model, share)
    return level


def _positive(level: Tensor, residuals: Tensor) -> Tensor:
    """Keep the level positive: a median is zero where more than half of the residuals are."""
    # A thousandth of the root mean square, which outliers dominate in that case; the constant keeps
    # exact fits from dividing by zero.
    least = 1e-12 + 1e-3 * residuals.square().nanmean(dim=1).sqrt()
    return level.nan_to_num(0.0).maximum(least.nan_to_num(1e-12))
