r"""Fits of likelihoods that are not sums of squares, with all parameters of the noise.

Counts, censored values and noise with parameters of its own have a likelihood from which nothing
is eliminated: the unknowns of the system and of the noise are found together, by the same method of
Levenberg and Marquardt with half the loss, -log p, as objective.

Steps use expected information, which is never negative, so that they lead downhill from afar.
The information at the optimum, of which the standard errors are the inverse, is the observed one,

.. math::
    F_{ab} = -\sum_t \frac{\partial^2 \log p_t}{\partial u_a \partial u_b}, \qquad
    u = (f_t, \text{parameters of the noise}),

where there are such parameters or censored values: there both differ, as the latter have an
information that depends on how far beyond its limit a value may have been.

References:
    B. Efron, D. V. Hinkley, Biometrika 65 (1978) 457-482, doi:10.1093/biomet/65.3.457.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.fitting.objective import objective, pooled
from warp_phys.fitting.observed_information import observed_information
from warp_phys.fitting.setting import setting_of
from warp_phys.fitting.solved import Solved, evaluated, merge
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.groups import same_in_group
from warp_phys.likelihood.noise_levels import held_levels
from warp_phys.likelihood.own_noise import own_start
from warp_phys.likelihood.prior import PriorPenalty
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.starting_points import middle_start
from warp_phys.minimizing.levenberg_marquardt import minimize
from warp_phys.minimizing.objective import Minimizer
from warp_phys.minimizing.optimum import Options, Outcome


def maximize_likelihood(problem: FitProblem, solved: Solved, options: Options) -> Solved:
    """Return fits by maximum likelihood that start at those of least squares.

    Args:
        problem: The problem.
        solved: Fits of `problem.squared()`, whose unknowns are those of the system alone.
        options: Options of the search.
    """
    found = (solved.tried, solved.agreeing, solved.optima)
    start, quiet = with_noise(problem, solved.z, solved.predicted), options.quiet()
    again = climb(problem, start, quiet, found)
    failed = pooled(problem, (again.outcome != Outcome.CONVERGED).double()) > 0.0
    # The optimum of least squares may be far from that of the posterior, or predict next to nothing
    # where something was counted, which has no likelihood.
    doubtful = torch.ones_like(failed) if problem.prior is not None else failed
    rows = doubtful[problem.group].nonzero()[:, 0]
    if rows.numel():
        other = _from_middle(problem.select(rows), again.select(rows), quiet)
        again = merge(again, other, rows, torch.ones(len(rows), dtype=torch.bool))
    return replace(again, iterations=solved.iterations + again.iterations)


def _from_middle(problem: FitProblem, first: Solved, options: Options) -> Solved:
    """Return fits, or those from the middle of the ranges where they are better."""
    found = (first.tried, first.agreeing, first.optima)
    other = climb(problem, middle_start(problem), options, found)
    lower = (objective(problem, other) < objective(problem, first))[problem.group]
    return merge(first, other, lower.nonzero()[:, 0], lower)


def climb(
    problem: FitProblem, z: Tensor, options: Options, found: tuple[Tensor, Tensor, Tensor]
) -> Solved:
    """Return fits by maximum likelihood from coordinates z (N, D).

    Args:
        problem: The problem.
        z: (N, D).
        options: Options of the search.
        found: How many starts were tried, agreed, and how many optima there are, each (N,).
    """
    setting = setting_of(problem)
    one = torch.ones(len(setting.levels), len(problem.records.outputs), dtype=z.dtype)
    engine = build_engine(problem, setting.rows, problem.counts)
    minimizer = Minimizer(engine, problem.unknowns, setting.rows, setting.group, held_levels(one))
    prior = problem.prior
    penalty = None if prior is None else PriorPenalty(prior, problem.unknowns, setting.rows)
    optimum = minimize(minimizer, z, options, anchor=penalty)
    solved = evaluated(
        problem,
        z=optimum.z,
        outcome=optimum.outcome[problem.group],
        iterations=optimum.iterations[problem.group],
        frozen=optimum.frozen,
        excluded=optimum.excluded,
        found=found,
        engine=engine,
    )
    return with_observed_information(problem, solved)


def with_observed_information(problem: FitProblem, solved: Solved) -> Solved:
    """Return fits whose sums hold the observed information, where it differs from the expected."""
    if problem.own is None and problem.records.censored is None:
        return solved
    hessian = observed_information(problem, solved.z)
    good = hessian.isfinite().all(dim=2).all(dim=1)
    hessian = torch.where(good[:, None, None], hessian, solved.sums.hessian)
    return replace(solved, sums=replace(solved.sums, hessian=hessian))


def with_noise(problem: FitProblem, z: Tensor, predicted: Tensor) -> Tensor:
    """Return coordinates (N, D) of all unknowns, from those (N, D') of the system's.

    Args:
        problem: The problem.
        z: (N, D'), coordinates of the unknowns of the system.
        predicted: (N, T, O), predictions there, from whose residuals the noise is guessed.
    """
    if problem.own is None:
        return z
    unknowns = problem.unknowns
    values = own_start(problem.distribution, problem.own, problem.records.observed, predicted)
    full = z.new_zeros(len(z), len(unknowns))
    full[:, ~unknowns.noisy] = z
    for place, entry in enumerate(unknowns.entries):
        if entry.kind == "noise":
            value = values[:, entry.index - unknowns.of_system]
            known = value.isfinite() & (value > 0.0)
            guess = entry.coordinate(torch.where(known, value, 1.0))
            full[:, place] = torch.where(known, guess, entry.middle())
    return same_in_group(problem, full)
