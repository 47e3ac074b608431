"""How fits end: evaluated at their start alone, no worse than it, or where nothing has a slope."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.fitting.likelihood_fit import climb, with_observed_information
from warp_phys.fitting.objective import objective
from warp_phys.fitting.settle_level import levels, settle_level
from warp_phys.fitting.solved import Solved, evaluated, merge
from warp_phys.likelihood.damped_step import unpack
from warp_phys.likelihood.groups import pooled, values_of
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.optimum import Options, Outcome

# Nats per value by which an end must be worse than the start before the start is kept: integration
# errors alone change the objective by less.
_WORSE = 1e-6


def evaluated_at_start(problem: FitProblem, z: Tensor) -> Solved:
    """Return the fits at coordinates z (N, D), without a single step."""
    if problem.is_squared or problem.is_whole:
        return with_observed_information(problem, _at(problem, z, None))
    solved = _at(problem.squared(), z, None)
    level = levels(problem, solved.predicted, problem.distribution.level)
    summed = replace(problem, distribution=problem.distribution.summed())
    return replace(_at(summed, z, level**-2), variance=level**2)


def _at(problem: FitProblem, z: Tensor, precision: Tensor | None) -> Solved:
    ones = torch.ones(len(problem), dtype=torch.int64)
    return evaluated(
        problem,
        z=z,
        outcome=int(Outcome.EVALUATED) * ones,
        iterations=0 * ones,
        frozen=torch.zeros_like(z, dtype=torch.bool),
        excluded=torch.zeros(len(problem), dtype=torch.bool),
        found=(ones, ones, ones),
        precision=precision,
    )


def not_worse(problem: FitProblem, solved: Solved, start: Tensor, options: Options) -> Solved:
    """Return the fits with those that ended worse than at their start (N, D) begun anew there.

    Starts are compared by least squares, so that a likelihood with another loss may be worse at the
    end: its level and fit then alternate from the start itself. A start that this does not improve
    is kept, and the fit has not converged.
    """
    doubtful = torch.ones(len(problem), dtype=torch.bool)
    if problem.is_squared or problem.distribution.loss_name == "huber":
        # A sum of squares falls from the start on until it has converged. Huber's level is robust,
        # not that of maximum likelihood: where its fit has converged, the likelihood may be
        # slightly smaller than at points next to it.
        failed = (solved.outcome != Outcome.CONVERGED).double()
        doubtful = (pooled(problem, failed) > 0.0)[problem.group]
    rows = doubtful.nonzero()[:, 0]
    if rows.numel() == 0:
        return solved
    part = problem.select(rows)
    begun = evaluated_at_start(part, start[rows])
    worse = _worse(part, begun, solved.select(rows))
    rows, every = rows[worse], torch.ones(len(worse), dtype=torch.bool)
    if rows.numel() == 0:
        return solved
    kept = _begun_anew(problem.select(rows), begun.select(worse), solved.select(rows), options)
    return merge(solved, kept, rows, every)


def _begun_anew(problem: FitProblem, begun: Solved, ended: Solved, options: Options) -> Solved:
    """Return fits from the start, or the start itself where they do not improve it.

    Args:
        problem: The problem of trajectories whose fits ended worse than they began.
        begun: Evaluated at their starts.
        ended: The fits.
        options: Options of the search.
    """
    ones = torch.ones_like(ended.agreeing)
    kept = replace(begun, tried=ended.tried, agreeing=ones, optima=ones)
    if not problem.is_squared and not options.out_of_time():
        again = _from_start(problem, kept, options)
        better = torch.ones(len(problem), dtype=torch.bool)
        better[_worse(problem, kept, again)] = False
        kept = merge(kept, again, better.nonzero()[:, 0], better)
    finished = (ended.outcome == Outcome.CONVERGED) | (ended.outcome == Outcome.DIVERGED)
    outcome = torch.where(finished, int(Outcome.STALLED), ended.outcome)
    outcome = torch.where(kept.outcome == Outcome.EVALUATED, outcome, kept.outcome)
    return replace(kept, outcome=outcome)


def _from_start(problem: FitProblem, begun: Solved, options: Options) -> Solved:
    """Return fits of a likelihood that is not one of least squares, from given starts."""
    if not problem.is_whole:
        return settle_level(problem, begun, options)
    return climb(problem, begun.z, options.quiet(), (begun.tried, begun.agreeing, begun.optima))


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
    values = values_of(problem)
    before, after = objective(problem, first), objective(problem, second)
    return (before < after - _WORSE * values)[problem.group].nonzero()[:, 0]
