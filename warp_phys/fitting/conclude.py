"""Uncertainty and intervals of fits; a fit starts again where a profile leads below its optimum."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from warp_phys.fitting.coarse_problem import PROFILE_STEPS, bounded
from warp_phys.fitting.likelihood_fit import climb
from warp_phys.fitting.search import run_block
from warp_phys.fitting.solved import Solved, merge
from warp_phys.fitting.uncertainty.covariance import Uncertainty, uncertainty
from warp_phys.fitting.uncertainty.intervals import Intervals, intervals
from warp_phys.likelihood.groups import pooled
from warp_phys.likelihood.noise_levels import held_levels
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.optimum import Options, Outcome

# How often fits start again from a better point that their profiles found.
_RESTARTS = 3

Table = TypeVar("Table", Uncertainty, Intervals)


def conclude(
    problem: FitProblem, solved: Solved, options: Options, level: float
) -> tuple[Solved, Uncertainty, Intervals]:
    """Return fits with their uncertainty and intervals of probability `level`.

    The profile likelihood minimizes over all other unknowns along a path, and so may come upon a
    better optimum than the search did. The fit is then continued from there, and concluded again.
    One that is still improved after several times has not converged.

    Args:
        problem: The problem that was fitted.
        solved: Its fits.
        options: Options of the search.
        level: Probability inside the intervals.
    """
    over = options.out_of_time
    known = uncertainty(problem, solved)
    ends = intervals(bounded(problem, PROFILE_STEPS), solved, known, level, over)
    for _ in range(_RESTARTS):
        rows = (ends.gain > 0.0).nonzero()[:, 0]
        if rows.numel() == 0 or over():
            break
        again = _continued(problem.select(rows), ends.start[rows], options.quiet())
        lower = _lower(problem, solved, again, known, rows)
        # Where the fit confirms no lower objective, that of the profile was one of another plan of
        # integration steps.
        ends.gain[rows[~lower]] = 0.0
        if not lower.any():
            break
        solved = _taken(solved, again, rows, lower)
        rows = rows[lower]
        part, fits = problem.select(rows), solved.select(rows)
        fresh = uncertainty(part, fits)
        again_ends = intervals(bounded(part, PROFILE_STEPS), fits, fresh, level, over)
        ends = _joined(ends, again_ends, rows)
        known = _joined(known, fresh, rows)
    moving = (ends.gain > 0.0) & (solved.outcome == Outcome.CONVERGED)
    limit = Outcome.OUT_OF_TIME if over() else Outcome.SURPASSED
    outcome = torch.where(moving, int(limit), solved.outcome)
    return replace(solved, outcome=outcome), *_without(known, ends, moving)


def _continued(problem: FitProblem, start: Tensor, options: Options) -> Solved:
    """Return fits from coordinates (N, D) that a profile found."""
    if not problem.is_whole:
        return run_block(problem, start, 1, options)
    once = torch.ones(len(problem), dtype=torch.int64)
    return climb(problem, start, options, (once, once, once))


def _without(known: Uncertainty, ends: Intervals, rows: Tensor) -> tuple[Uncertainty, Intervals]:
    """Return both without the rows (N,) whose point turned out to be no optimum."""
    table, matrix = rows.unsqueeze(1), rows[:, None, None]
    known = replace(
        known,
        information=torch.where(matrix, torch.nan, known.information),
        covariance=torch.where(matrix, torch.nan, known.covariance),
    )
    ends = replace(
        ends,
        lower=torch.where(table, torch.nan, ends.lower),
        upper=torch.where(table, torch.nan, ends.upper),
        profiled=ends.profiled & ~table,
    )
    return known, ends


def _lower(
    problem: FitProblem, first: Solved, second: Solved, known: Uncertainty, rows: Tensor
) -> Tensor:
    """Return (n,): whether the second fits, of some rows, have a lower objective."""
    # With the noise level of the first fits. A lower sum of squares in these units is a lower
    # objective, too, if levels are unknown, because the logarithm lies below its tangents.
    levels = held_levels(known.noise_variance[rows])
    before = levels.objective(first.sums.squares[rows], first.sums.counted[rows])
    change = levels.objective(second.sums.squares, second.sums.counted) - before
    part = problem.select(rows)
    return (pooled(part, change) < 0.0)[part.group]


def _taken(first: Solved, second: Solved, rows: Tensor, lower: Tensor) -> Solved:
    """Return the first fits with the second ones in those of the rows where they are lower."""
    merged = merge(first, second, rows[lower], lower)
    tried, optima = first.tried.clone(), first.optima.clone()
    tried[rows] += second.tried
    optima[rows[lower]] += 1
    iterations = merged.iterations.clone()
    iterations[rows[lower]] += first.iterations[rows[lower]]
    return replace(merged, tried=tried, optima=optima, iterations=iterations)


def _joined(table: Table, fresh: Table, rows: Tensor) -> Table:
    """Return a table (N, ...) with some rows replaced."""
    parts = {}
    for field in fields(table):
        parts[field.name] = getattr(table, field.name).clone()
        parts[field.name][rows] = getattr(fresh, field.name)
    return type(table)(**parts)
