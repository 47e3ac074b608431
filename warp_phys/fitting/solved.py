"""Fits of a block of trajectories: evaluate them, pick the best start, merge two attempts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.engines.engine import Sums
from warp_phys.likelihood.noise_levels import NoiseLevels, noise_levels
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.residual_checks import check_residuals
from warp_phys.minimizing.objective import Minimizer
from warp_phys.minimizing.optimum import Optimum, Outcome

# Two optima count as the same if their objectives differ by less than this, in nats per value.
_SAME = 1e-5


@dataclass(frozen=True)
class Solved:
    """Fits of N trajectories.

    Attributes:
        z: (N, D), coordinates of the unknowns.
        outcome: (N,), values of `Outcome`.
        iterations: (N,), of the best start.
        frozen: (N, D), unknowns that reached the end of their support.
        sums: Sums over whole records at the optimum.
        predicted: (N, T, O).
        correlation: (N, O), see `ResidualCheck`, as for the next three.
        patterned: (N,).
        exact: (N,).
        wrong: (N,).
        variance: (N, O), squared level of a loss that is not squared; otherwise NaN.
        tried: (N,), starts that were tried.
        agreeing: (N,), how many of them reached the best optimum.
        optima: (N,), how many different optima they reached, at least.
    """

    z: Tensor
    outcome: Tensor
    iterations: Tensor
    frozen: Tensor
    sums: Sums
    predicted: Tensor
    correlation: Tensor
    patterned: Tensor
    exact: Tensor
    wrong: Tensor
    variance: Tensor
    tried: Tensor
    agreeing: Tensor
    optima: Tensor


@dataclass(frozen=True)
class Setting:
    """The lanes of a block: every trajectory once for each start."""

    rows: Tensor
    group: Tensor
    levels: NoiseLevels


def setting_of(problem: FitProblem, starts: int) -> Setting:
    """Return the lanes of a number of starts, start by start; each start has its own groups."""
    # Lane k N + n is trajectory n from start k; its group is k G + group(n).
    rows = torch.arange(len(problem)).repeat(starts)
    groups = int(problem.group.max()) + 1
    shift = torch.arange(starts).repeat_interleave(len(problem)) * groups
    group = problem.group.repeat(starts) + shift
    return Setting(rows, group, noise_levels(problem, rows, group))


def best_start(problem: FitProblem, optimum: Optimum, starts: int) -> Solved:
    """Take the best start of each group and evaluate there once more."""
    count = len(problem)
    groups = len(optimum.objective) // starts
    objective = optimum.objective.view(starts, groups)
    outcome = optimum.outcome.view(starts, groups)
    objective = torch.where(outcome == Outcome.DIVERGED, torch.inf, objective)
    # Where trajectories share unknowns, a start from which one of them could not be integrated has
    # an objective of fewer values, which does not compare with that of all.
    lost = torch.zeros(starts * groups, dtype=objective.dtype)
    lost.index_add_(0, setting_of(problem, starts).group, optimum.excluded.to(objective.dtype))
    lost = lost.view(starts, groups)
    objective = torch.where(lost > lost.amin(dim=0), torch.inf, objective)
    # Diverged starts count as infinite: `argmin` would pick an objective that is NaN.
    best = objective.argmin(dim=0)
    setting = setting_of(problem, 1)
    # Residuals below rounding have objectives that differ by chance; they count as equal.
    seen = torch.zeros_like(setting.levels.floor)
    seen.index_add_(0, problem.group, problem.records.seen.sum(dim=1).to(seen.dtype))
    objective = objective.maximum(setting.levels.least(seen))
    mine = problem.group
    # The lane of the best start of each trajectory, and the group of that lane.
    pick = best[mine] * count + torch.arange(count)
    values = torch.zeros(groups, dtype=torch.float64)
    values.index_add_(0, mine, problem.records.seen.sum(dim=(1, 2)).double())
    agreeing, optima = _optima(objective, best, values)
    at = best * groups + torch.arange(groups)
    return evaluated(
        problem,
        z=optimum.z[pick],
        outcome=optimum.outcome[at][mine],
        iterations=optimum.iterations[at][mine],
        frozen=optimum.frozen[pick],
        excluded=optimum.excluded[pick],
        found=(torch.full((count,), starts), agreeing[mine], optima[mine]),
    )


def _optima(objective: Tensor, best: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many starts reached the best optimum, and how many optima were reached, (G,)."""
    ordered = objective.sort(dim=0).values
    lowest = objective.gather(0, best.unsqueeze(0))
    agreeing = (objective <= lowest + _SAME * values).sum(dim=0)
    # Sorted objectives: each gap wider than the tolerance begins a further optimum. Different
    # optima with the same objective count as one, so that this is a lower bound.
    apart = (ordered[1:] - ordered[:-1] > _SAME * values) & ordered[1:].isfinite()
    optima = apart.sum(dim=0) + ordered[0].isfinite()
    return agreeing, optima


def evaluated(
    problem: FitProblem,
    *,
    z: Tensor,
    outcome: Tensor,
    iterations: Tensor,
    frozen: Tensor,
    excluded: Tensor,
    found: tuple[Tensor, Tensor, Tensor],
    precision: Tensor | None = None,
) -> Solved:
    """Evaluate all trajectories at their coordinates, at a level where the loss is not squared."""
    if problem.distribution.is_squared:
        precision = None  # squares keep the units of the data
    sums, predicted = evaluate_at(problem, z, precision)
    outcome = torch.where(excluded | (sums.status != 0), int(Outcome.DIVERGED), outcome)
    return Solved(
        z=z,
        outcome=outcome,
        iterations=iterations,
        frozen=frozen,
        sums=sums,
        predicted=predicted,
        **vars(check_residuals(problem, predicted)),
        variance=torch.full_like(sums.squares, torch.nan),
        tried=found[0],
        agreeing=found[1],
        optima=found[2],
    )


def evaluate_at(
    problem: FitProblem, z: Tensor, precision: Tensor | None = None
) -> tuple[Sums, Tensor]:
    """Return the sums and the predictions (N, T, O) at coordinates z (N, D).

    Args:
        problem: The problem to evaluate.
        z: (N, D).
        precision: (N, O), one over the squared level of the noise; None for 1.
    """
    setting = setting_of(problem, 1)
    engine = build_engine(problem, setting.rows, problem.counts)
    minimizer = Minimizer(
        engine, problem.unknowns, setting.rows, setting.group, setting.levels, precision
    )
    predicted = torch.full(problem.records.observed.shape, torch.nan, dtype=torch.float64)
    minimizer.evaluate(z, setting.rows, predicted=predicted)
    return minimizer.sums, predicted


def better(problem: FitProblem, first: Solved, second: Solved, rows: Tensor) -> Solved:
    """Replace fits of some rows by the second ones, where those are better or the first failed."""
    part = problem.select(rows)
    levels = setting_of(part, 1).levels
    every = torch.arange(len(rows))

    def pooled(values: Tensor) -> Tensor:
        return values.new_zeros((len(levels), *values.shape[1:])).index_add_(0, part.group, values)

    def objective(sums: Sums, chosen: Tensor) -> Tensor:
        squares, counted = pooled(sums.squares[chosen]), pooled(sums.counted[chosen])
        reached = levels.objective(squares, counted)
        return torch.where(reached.isnan(), torch.inf, reached)

    before, after = objective(first.sums, rows), objective(second.sums, every)
    values = pooled(part.records.seen.sum(dim=(1, 2)).double())
    # A fit replaces another only if it is better by more than the tolerance of equality: without
    # that margin the choice would depend on rounding.
    lower = (after < before - _SAME * values)[part.group]
    failed = (first.outcome[rows] != Outcome.CONVERGED) & (second.outcome == Outcome.CONVERGED)
    same = (after <= before + _SAME * values)[part.group]
    take = lower | (failed & same)
    merged = merge(first, second, rows[take], take)
    level = same & ~lower
    tried, agreeing, optima = first.tried.clone(), first.agreeing.clone(), first.optima.clone()
    tried[rows] += second.tried
    joined = first.agreeing[rows] + torch.where(level, second.agreeing, 0)
    agreeing[rows] = torch.where(lower, second.agreeing, joined)
    # The optima of both sides may coincide, so that the larger count is a lower bound of all.
    optima[rows] = torch.maximum(first.optima[rows] + lower, second.optima + (~level & ~lower))
    return replace(merged, tried=tried, agreeing=agreeing, optima=optima)


def merge(first: Solved, second: Solved, into: Tensor, take: Tensor) -> Solved:
    """Overwrite rows `into` of the first fits by the taken rows of the second."""

    def mixed(a: Tensor, b: Tensor) -> Tensor:
        out = a.clone()
        out[into] = b[take]
        return out

    sums = Sums(**{k: mixed(v, getattr(second.sums, k)) for k, v in vars(first.sums).items()})
    plain = {
        name: mixed(getattr(first, name), getattr(second, name))
        for name in vars(first)
        if name != "sums"
    }
    return Solved(sums=sums, **plain)
