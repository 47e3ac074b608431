"""The sum of squared residuals over known variances, and its distribution if they are right."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.fitting.solved import Solved
from warp_phys.likelihood.problem import FitProblem


def chi_square(problem: FitProblem, solved: Solved) -> tuple[Tensor, Tensor]:
    """Return the sum (N,), NaN where variances are not known, and its degrees of freedom."""
    freedom = solved.sums.counted.sum(dim=1) - _own(problem)
    if not _applies(problem):
        return torch.full_like(freedom, torch.nan), freedom
    if problem.distribution.is_squared or problem.distribution.loss_name != "linear":
        return solved.sums.squares.sum(dim=1), freedom
    return _scatter(problem, solved)[0], freedom


def comparable(problem: FitProblem, solved: Solved) -> tuple[Tensor, Tensor]:
    """Return the sum and degrees of freedom (N,) with which it is compared with chi-square.

    Squares of normal residuals have the variance 2; those of counts have more, and their sum X has
    nearly the distribution of c times a chi-square variable of k degrees of freedom with the same
    mean and variance: c = var X / (2 E X), k = 2 (E X)^2 / var X.
    """
    total, freedom = chi_square(problem, solved)
    if not _applies(problem) or problem.distribution.is_squared or not problem.is_whole:
        return total, freedom
    variance = _scatter(problem, solved)[1]
    scale = variance / (2.0 * freedom.clamp_min(1.0))
    return total / scale, freedom / scale


def _applies(problem: FitProblem) -> bool:
    known = problem.noise == "known" and problem.own is None and problem.records.censored is None
    return known and problem.distribution.chi_square


def _own(problem: FitProblem) -> Tensor:
    return problem.unknowns.estimated()[:, problem.unknowns.shared :].sum(dim=1)


def _scatter(problem: FitProblem, solved: Solved) -> tuple[Tensor, Tensor]:
    """Return sums (N,) of squared Pearson residuals, and the variances of these sums."""
    totals, variances = [], []
    for output in range(len(problem.records.outputs)):
        observed = problem.records.observed[..., output]
        predicted = solved.predicted[..., output]
        level = torch.ones_like(predicted)
        if problem.weights is not None:
            level = problem.weights[..., output].rsqrt()
        noise = problem.distribution.of(output)
        square, variance = noise.scatter(observed, predicted, level)
        seen = square.isfinite()
        totals.append(torch.where(seen, square, 0.0).sum(dim=1))
        variances.append(torch.where(seen, variance, 0.0).sum(dim=1))
    return torch.stack(totals).sum(dim=0), torch.stack(variances).sum(dim=0)
