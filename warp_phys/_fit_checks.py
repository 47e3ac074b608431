"""Checks of a fit: do its residuals look like noise?"""

from __future__ import annotations

import torch
from scipy import stats
from torch import Tensor

from warp_phys._fit_problem import FitProblem

MISFIT = {
    1: "successive residuals are alike",
    2: "residuals are larger than the known noise",
}
"""How a fit's residuals differ from noise, by bit."""

# How often a sum of squares this large comes by chance.
_BY_CHANCE = 1e-5
# Standard deviations of an autocorrelation by chance; five outputs of a million fits exceed it.
_CORRELATED = 4.5
# Share of the variance that a fit may leave before it is looked at again.
_UNEXPLAINED = 0.3
# Residuals this small beside the data are the integration's, whatever pattern they have.
_EXACT = 1e-5


def autocorrelation(residuals: Tensor) -> tuple[Tensor, Tensor]:
    """Return the correlation of successive residuals (N, O), and how many pairs there were.

    Args:
        residuals: (N, T, O), NaN where missing; pairs with a gap between them do not count.
    """
    known = residuals.isfinite()
    values = residuals.nan_to_num(0.0)
    pairs = known[:, 1:] & known[:, :-1]
    count = pairs.sum(dim=1)
    product = (values[:, 1:] * values[:, :-1] * pairs).sum(dim=1)
    mean_square = values.square().sum(dim=1) / known.sum(dim=1).clamp_min(1)
    correlation = product / (count * mean_square)
    return torch.where((count > 1) & (mean_square > 0.0), correlation, torch.nan), count


def correlated(residuals: Tensor) -> Tensor:
    """Return (N,) whether successive residuals of some output are more alike than by chance."""
    correlation, pairs = autocorrelation(residuals)
    return (correlation.nan_to_num(0.0) * pairs.sqrt() > _CORRELATED).any(dim=1)


def negligible(problem: FitProblem, residuals: Tensor, rows: Tensor | slice) -> Tensor:
    """Return (N, O), whether residuals are nothing beside the data."""
    observed = problem.records.observed[rows]
    size = torch.ones_like(observed) if problem.logarithmic else observed
    return residuals.square().nanmean(dim=1) <= _EXACT**2 * size.square().nanmean(dim=1)


def looks_wrong(problem: FitProblem, predicted: Tensor) -> Tensor:
    """Return (N,): residuals follow a pattern, or much of the variance is left."""
    residuals = problem.residuals(predicted, slice(None))
    observed = problem.records.observed
    values = observed.log() if problem.logarithmic else observed
    around = (values - values.nanmean(dim=1, keepdim=True)).square().nanmean(dim=1)
    left = residuals.square().nanmean(dim=1)
    unexplained = ((left > _UNEXPLAINED * around) & (around > 0.0)).any(dim=1)
    suspicious = correlated(residuals) | unexplained
    return suspicious & ~negligible(problem, residuals, slice(None)).all(dim=1)


def misfit(problem: FitProblem, residuals: Tensor, chi_square: Tensor, freedom: Tensor) -> Tensor:
    """Return (N,) the bits of `MISFIT` that hold.

    Args:
        problem: What was fitted.
        residuals: (N, T, O).
        chi_square: (N,), sum of squares over the known variances; NaN where those are unknown.
        freedom: (N,), its degrees of freedom.
    """
    pattern = correlated(residuals) & ~negligible(problem, residuals, slice(None)).all(dim=1)
    tail = stats.chi2.sf(chi_square.numpy(), freedom.clamp_min(1.0).numpy())
    excess = torch.from_numpy(tail < _BY_CHANCE) & chi_square.isfinite()
    return 1 * pattern.long() + 2 * excess.long()
