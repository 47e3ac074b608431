"""Running a fit: blocks of trajectories, several starts each, the best of them, a second look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys._fit_checks import looks_wrong
from warp_phys._fit_engine import Sums, build_engine
from warp_phys._fit_problem import FitProblem
from warp_phys._fit_starts import middle_start, shortened, spread_starts
from warp_phys._huber import BEND, scales
from warp_phys._levenberg import Anchor, Minimizer, Optimum, Options, Outcome
from warp_phys._noise_levels import NoiseLevels, noise_levels

# Lanes in a block: bounds the memory, and is enough to keep every core busy.
_LANES = 16_384
# Points tried anew where a fit looks wrong, beside its own start and the middle.
_SECOND_LOOK = 4
# On shortened records a fit need not be exact.
_ROUGH = {"tolerance": 1e-3, "max_iterations": 12}
# Nats for each value by which two optima differ at most if they are the same.
_SAME = 1e-5
_HUBER_ROUNDS, _HUBER_SETTLED = 20, 1e-6


@dataclass(frozen=True)
class Solved:
    """Fits of N trajectories.

    Attributes:
        z: (N, D), coordinates of the unknowns.
        outcome: (N,), of `Outcome`.
        iterations: (N,), those of the start that was best.
        frozen: (N, D), unknowns that ran to the end of their support.
        sums: Sums at the optimum, of whole records.
        predicted: (N, T, O).
        variance: (N, O), level of Huber's loss squared; NaN where the loss is square.
        tried: (N,), starts that were tried.
        agreeing: (N,), how many of them came to the best optimum.
        optima: (N,), how many different optima they came to, at least.
    """

    z: Tensor
    outcome: Tensor
    iterations: Tensor
    frozen: Tensor
    sums: Sums
    predicted: Tensor
    variance: Tensor
    tried: Tensor
    agreeing: Tensor
    optima: Tensor


def blocks_of(problem: FitProblem, starts: int) -> list[Tensor]:
    """Return the trajectories (n,) of each block; a group stays whole."""
    size = max(1, _LANES // max(1, starts))
    if problem.unknowns.shared == 0:
        return list(torch.arange(len(problem)).split(size))
    order = problem.group.argsort(stable=True)
    found: list[list[Tensor]] = [[]]
    filled = 0
    counts = torch.bincount(problem.group).tolist()
    for members in order.split(counts):
        if filled and filled + len(members) > size:
            found.append([])
            filled = 0
        found[-1].append(members)
        filled += len(members)
    return [torch.cat(part) for part in found]


def run_block(problem: FitProblem, starts: Sequence[Tensor], options: Options) -> Solved:
    """Fit a block of trajectories from one or several starts (n, D) each."""
    best = _best_of(problem, torch.stack(list(starts)), options)
    best = _look_again(problem, best, starts, options)
    if problem.robust:
        best = _settle_huber(problem, best, options)
    return best


@dataclass(frozen=True)
class _Setting:
    """Lanes of a block: every trajectory once for each start."""

    rows: Tensor
    group: Tensor
    levels: NoiseLevels


def _setting(problem: FitProblem, starts: int) -> _Setting:
    rows = torch.arange(len(problem)).repeat(starts)
    groups = int(problem.group.max()) + 1
    shift = torch.arange(starts).repeat_interleave(len(problem)) * groups
    group = problem.group.repeat(starts) + shift
    return _Setting(rows, group, noise_levels(problem, rows, group))


def _best_of(problem: FitProblem, z: Tensor, options: Options) -> Solved:
    """Fit from starts (K, n, D), all but the first gradually, and return each group's best."""
    lanes = _gradually(problem, z, options)
    setting = _setting(problem, len(z))
    optimum = _minimize(problem, setting, lanes, options, problem.counts[setting.rows])
    return _choose(problem, optimum, len(z))


def _gradually(problem: FitProblem, z: Tensor, options: Options) -> Tensor:
    """Fit roughly to ever longer beginnings of the records, from all starts but the first.

    Args:
        problem: What is fitted.
        z: (K, n, D).
        options: Of the fit.

    Returns:
        Where that led, (K n, D).
    """
    first, later = z[0], z[1:].flatten(0, 1)
    if len(later) == 0:
        return first
    setting = _setting(problem, len(z) - 1)
    quiet = replace(options, report=lambda _: None, **_ROUGH)
    for limit in shortened(problem, setting.rows):
        # A beginning may leave a parameter open; it must not carry it anywhere.
        later = _minimize(problem, setting, later, quiet, limit, anchored=True).z
    return torch.cat([first, later])


def _minimize(
    problem: FitProblem,
    setting: _Setting,
    z: Tensor,
    options: Options,
    limit: Tensor,
    *,
    anchored: bool = False,
) -> Optimum:
    engine = build_engine(problem, setting.rows, limit)
    minimizer = Minimizer(engine, problem.unknowns, setting.rows, setting.group, setting.levels)
    anchor = None
    if anchored:
        width = torch.tensor([entry.wide() for entry in problem.unknowns.entries])
        anchor = Anchor(z, width.to(z).square().reciprocal())
    return minimizer.minimize(z, options, anchor=anchor)


def _choose(problem: FitProblem, optimum: Optimum, starts: int) -> Solved:
    """Take the best start of each group and evaluate there once more."""
    count = len(problem)
    groups = len(optimum.objective) // starts
    objective = optimum.objective.view(starts, groups)
    outcome = optimum.outcome.view(starts, groups)
    objective = torch.where(outcome == Outcome.DIVERGED, torch.inf, objective)
    best = objective.argmin(dim=0)
    mine = problem.group
    pick = best[mine] * count + torch.arange(count)
    values = torch.zeros(groups, dtype=torch.float64)
    values.index_add_(0, mine, problem.records.seen.sum(dim=(1, 2)).double())
    agreeing, optima = _optima(objective, best, values)
    at = best * groups + torch.arange(groups)
    return _evaluated(
        problem,
        z=optimum.z[pick],
        outcome=optimum.outcome[at][mine],
        iterations=optimum.iterations[at][mine],
        frozen=optimum.frozen[pick],
        excluded=optimum.excluded[pick],
        found=(torch.full((count,), starts), agreeing[mine], optima[mine]),
    )


def _optima(objective: Tensor, best: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many starts came to the best optimum, and to how many different ones, (G,)."""
    ordered = objective.sort(dim=0).values
    lowest = objective.gather(0, best.unsqueeze(0))
    agreeing = (objective <= lowest + _SAME * values).sum(dim=0)
    apart = (ordered[1:] - ordered[:-1] > _SAME * values) & ordered[1:].isfinite()
    optima = apart.sum(dim=0) + ordered[0].isfinite()
    return agreeing, optima


def _evaluated(
    problem: FitProblem,
    *,
    z: Tensor,
    outcome: Tensor,
    iterations: Tensor,
    frozen: Tensor,
    excluded: Tensor,
    found: tuple[Tensor, Tensor, Tensor],
) -> Solved:
    """Evaluate all trajectories at their coordinates, without Huber's loss."""
    sums, predicted = evaluate_at(problem, z)
    outcome = torch.where(excluded | (sums.status != 0), int(Outcome.DIVERGED), outcome)
    return Solved(
        z=z,
        outcome=outcome,
        iterations=iterations,
        frozen=frozen,
        sums=sums,
        predicted=predicted,
        variance=torch.full_like(sums.squares, torch.nan),
        tried=found[0],
        agreeing=found[1],
        optima=found[2],
    )


def evaluate_at(problem: FitProblem, z: Tensor) -> tuple[Sums, Tensor]:
    """Return the sums and the predictions (N, T, O) at coordinates z (N, D)."""
    setting = _setting(problem, 1)
    engine = build_engine(problem, setting.rows, problem.counts)
    minimizer = Minimizer(engine, problem.unknowns, setting.rows, setting.group, setting.levels)
    predicted = torch.full(problem.records.observed.shape, torch.nan, dtype=torch.float64)
    minimizer.evaluate(z, setting.rows, predicted=predicted)
    return minimizer.sums, predicted


def _look_again(
    problem: FitProblem, first: Solved, starts: Sequence[Tensor], options: Options
) -> Solved:
    """Fit anew, gradually and from more starts, what the starts left in the wrong place."""
    doubtful = looks_wrong(problem, first.predicted) | (first.outcome != Outcome.CONVERGED)
    groups = torch.zeros(int(problem.group.max()) + 1, dtype=torch.bool)
    groups[problem.group[doubtful]] = True
    rows = groups[problem.group].nonzero()[:, 0]
    if rows.numel() == 0 or options.out_of_time():
        return first
    part = select(problem, rows)
    fresh = spread_starts(part, len(starts) + _SECOND_LOOK)[-_SECOND_LOOK:]
    again = [middle_start(part), starts[0][rows]] if len(starts) == 1 else [starts[1][rows]]
    trials = torch.stack([*again, *fresh])
    setting = _setting(part, len(trials))
    rough = replace(options, report=lambda _: None, **_ROUGH)
    z = _gradually(part, trials, options)
    tried = _minimize(part, setting, z, rough, part.counts[setting.rows])
    chosen = _choose(part, tried, len(trials))
    # Only the best of them is worth every digit.
    exact = _best_of(part, chosen.z.unsqueeze(0), replace(options, report=lambda _: None))
    second = replace(
        exact,
        tried=chosen.tried,
        agreeing=chosen.agreeing,
        optima=chosen.optima,
        iterations=chosen.iterations + exact.iterations,
    )
    return _better(problem, first, second, rows)


def _better(problem: FitProblem, first: Solved, second: Solved, rows: Tensor) -> Solved:
    """Take the second fits (of some rows) where their objective is lower or the first failed."""
    part = select(problem, rows)
    levels = _setting(part, 1).levels
    every = torch.arange(len(rows))

    def pooled(values: Tensor) -> Tensor:
        return values.new_zeros((len(levels), *values.shape[1:])).index_add_(0, part.group, values)

    def objective(sums: Sums, chosen: Tensor) -> Tensor:
        squares, counted = pooled(sums.squares[chosen]), pooled(sums.counted[chosen])
        return levels.objective(squares, counted).nan_to_num(nan=torch.inf)

    before, after = objective(first.sums, rows), objective(second.sums, every)
    values = pooled(part.records.seen.sum(dim=(1, 2)).double())
    lower = (after < before - _SAME * values)[part.group]
    failed = (first.outcome[rows] != Outcome.CONVERGED) & (second.outcome == Outcome.CONVERGED)
    same = (after <= before + _SAME * values)[part.group]
    take = lower | (failed & same)
    merged = _merge(first, second, rows[take], take)
    level = same & ~lower
    tried, agreeing, optima = first.tried.clone(), first.agreeing.clone(), first.optima.clone()
    tried[rows] += second.tried
    joined = first.agreeing[rows] + torch.where(level, second.agreeing, 0)
    agreeing[rows] = torch.where(lower, second.agreeing, joined)
    # The best of one side may be among the others of the other side: at least so many.
    optima[rows] = torch.maximum(first.optima[rows] + lower, second.optima + (~level & ~lower))
    return replace(merged, tried=tried, agreeing=agreeing, optima=optima)


def _merge(first: Solved, second: Solved, into: Tensor, take: Tensor) -> Solved:
    """Write the taken rows of the second over those of the first."""

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


def _settle_huber(problem: FitProblem, solved: Solved, options: Options) -> Solved:
    """Alternate between the level of the bulk of the residuals and the fit with Huber's loss."""
    setting = _setting(problem, 1)
    z, predicted = solved.z, solved.predicted
    previous: Tensor | None = None
    quiet = replace(options, report=lambda _: None)
    optimum: Optimum | None = None
    for _ in range(_HUBER_ROUNDS):
        scale = scales(problem, predicted, len(problem.unknowns))
        if previous is not None and bool(
            ((scale / previous - 1.0).abs() < _HUBER_SETTLED).all() or options.out_of_time()
        ):
            break
        previous = scale
        squared = torch.zeros(len(setting.levels), scale.shape[1], dtype=scale.dtype)
        squared[problem.group] = scale**2
        levels = setting.levels.held(squared)
        engine = build_engine(problem, setting.rows, problem.counts)
        minimizer = Minimizer(
            engine, problem.unknowns, setting.rows, setting.group, levels, BEND * scale
        )
        optimum = minimizer.minimize(z, quiet)
        z = optimum.z
        _, predicted = evaluate_at(problem, z)
    if optimum is None or previous is None:
        return solved
    mine = problem.group
    settled = _evaluated(
        problem,
        z=z,
        outcome=optimum.outcome[mine],
        iterations=solved.iterations + optimum.iterations[mine],
        frozen=optimum.frozen,
        excluded=optimum.excluded,
        found=(solved.tried, solved.agreeing, solved.optima),
    )
    return replace(settled, variance=previous**2)


def select(problem: FitProblem, rows: Tensor) -> FitProblem:
    """Return the problem of some trajectories, groups numbered anew."""
    numbers = torch.unique(problem.group[rows], return_inverse=True)[1]
    return replace(
        problem,
        records=problem.records.select(rows),
        start=problem.start[rows],
        unknowns=replace(
            problem.unknowns,
            parameters=problem.unknowns.parameters[rows],
            initial_state=problem.unknowns.initial_state[rows],
        ),
        group=numbers,
        weights=None if problem.weights is None else problem.weights[rows],
    )
