"""How fits end: evaluated at their start alone, no worse than it, or where nothing has a slope."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.fitting.objective import objective, pooled
from warp_phys.fitting.settle_level import levels, settle_level
from warp_phys.fitting.solved import Solved, evaluated, merge
from warp_phys.likelihood.damped_step import unpack
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.optimum import Options, Outcome

# Nats per value by which an end must be worse than the start before the start is kept: integration
# errors alone change the objective by less.
_WORSE = 1e-6


def evaluated_at_start(problem: FitProblem, z: Tensor) -> Solved:
    """Return the fits at coordinates z (N, D), without a single step."""
    ones = torch.ones(len(problem), dtype=torch.int64)
    settings = {
        "z": z,
        "outcome": int(Outcome.EVALUATED) * ones,
        "iterations": 0 * ones,
        "frozen": torch.zeros_like(z, dtype=torch.bool),
        "excluded": torch.zeros(len(problem), dtype=torch.bool),
        "found": (ones, ones, ones),
    }
    solved = evaluated(problem.squared(), **settings)
    if problem.distribution.is_squared:
        return solved
    level = levels(problem, solved.predicted, problem.distribution.level)
    summed = replace(problem, distribution=problem.distribution.summed())
    solved = evaluated(summed, **settings, precision=level**-2)
    return replace(solved, variance=level**2)


def not_worse(problem: FitProblem, solved: Solved, start: Tensor, options: Options) -> Solved:
    """Return the fits with those that ended worse than at their start (N, D) begun anew there.

    Starts are compared by least squares, so that a likelihood with another loss may be worse at the
    end: its level and fit then alternate from the start itself. A start that this does not improve
    is kept, and the fit has not converged.
    """
    begun = evaluated_at_start(problem, start)
    rows = _worse(problem, begun, solved)
    if problem.distribution.loss_name == "huber":
        # Huber's level is robust, not that of maximum likelihood: the end of a converged fit may
        # have a slightly smaller likelihood than points next to it.
        rows = rows[solved.outcome[rows] != Outcome.CONVERGED]
    if rows.numel() == 0:
        return solved
    part, every = problem.select(rows), torch.ones(len(rows), dtype=torch.bool)
    found = solved.tried[rows], solved.agreeing[rows], torch.ones_like(solved.optima[rows])
    kept = _rows(begun, rows)
    kept = replace(kept, tried=found[0], agreeing=torch.ones_like(found[1]), optima=found[2])
    if not problem.distribution.is_squared and not options.out_of_time():
        again = settle_level(part, kept, options)
        better = torch.ones(len(rows), dtype=torch.bool)
        better[_worse(part, kept, again)] = False
        kept = merge(kept, again, better.nonzero()[:, 0], better)
    ended = solved.outcome[rows]
    finished = (ended == Outcome.CONVERGED) | (ended == Outcome.DIVERGED)
    ended = torch.where(finished, int(Outcome.STALLED), ended)
    outcome = torch.where(kept.outcome == Outcome.EVALUATED, ended, kept.outcome)
    return merge(solved, replace(kept, outcome=outcome), rows, every)


def without_slope(problem: FitProblem, solved: Solved) -> Tensor:
    """Return (N,), at whose end the predictions depend on no unknown at all."""
    hessian = unpack(solved.sums.hessian, len(problem.unknowns.directions())).sum(dim=1)
    # A group has a slope where any of its trajectories has one.
    steep = (hessian.diagonal(dim1=1, dim2=2).abs() > 0.0).any(dim=1) | solved.frozen.any(dim=1)
    return (pooled(problem, steep.double()) == 0.0)[problem.group] & (solved.sums.status == 0)


def flat_has_not_converged(problem: FitProblem, solved: Solved) -> Solved:
    """Return the fits with those stalled that stopped where the objective is flat.

    A zero gradient ends the minimization there, but it says nothing about the data: far from an
    optimum, a saturated model is flat, too.
    """
    flat = without_slope(problem, solved) & (solved.outcome == Outcome.CONVERGED)
    return replace(solved, outcome=torch.where(flat, int(Outcome.STALLED), solved.outcome))


def _worse(problem: FitProblem, first: Solved, second: Solved) -> Tensor:
    """Return the numbers of trajectories in groups in which the second fit is worse."""
    values = pooled(problem, problem.records.seen.sum(dim=(1, 2)).double())
    before, after = objective(problem, first), objective(problem, second)
    return (before < after - _WORSE * values)[problem.group].nonzero()[:, 0]


def _rows(solved: Solved, rows: Tensor) -> Solved:
    """Return the fits of some trajectories."""
    sums = type(solved.sums)(**{name: value[rows] for name, value in vars(solved.sums).items()})
    plain = {name: value[rows] for name, value in vars(solved).items() if name != "sums"}
    return Solved(sums=sums, **plain)
