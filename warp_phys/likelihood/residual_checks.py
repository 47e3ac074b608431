"""Checks of a fit: whether its residuals look like noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from scipy import stats
from torch import Tensor

from warp_phys.likelihood.density import noise_table
from warp_phys.likelihood.problem import FitProblem

# Tail probability of the chi-square distribution below which a sum of squares is too large.
_BY_CHANCE = 1e-5
# Standard deviations of an autocorrelation, which white noise exceeds in about three of a million
# records, and the fewest pairs for which that can be told.
_CORRELATED, _PAIRS = 4.5, 8
# Share of the variance that a fit may leave unexplained before it is tried again.
_UNEXPLAINED = 0.3
# Residuals this small relative to the data are integration errors, whatever pattern they have.
_EXACT = 1e-5


@dataclass(frozen=True)
class Pattern:
    """How far the residuals of N trajectories resemble their neighbors; each (N, O).

    Attributes:
        correlation: Correlation of successive residuals; NaN where there is none.
        alike: Whether it is larger than by chance.
        mean_square: Mean square of the residuals.
        count: Their number.
    """

    correlation: Tensor
    alike: Tensor
    mean_square: Tensor
    count: Tensor

    def negligible(self, size: Tensor) -> Tensor:
        """Return (N,) whether all residuals are those of the integration.

        Args:
            size: (N, O), mean squares of the data.
        """
        small = (self.mean_square <= _EXACT**2 * size).all(dim=1)
        return small & (self.count > 0).any(dim=1)


def pattern_of(residuals: Tensor) -> Pattern:
    """Return the pattern of residuals (N, T, O), NaN where missing."""
    known = residuals.isfinite()
    values = torch.where(known, residuals, 0.0)
    count = known.sum(dim=1)
    mean_square = values.square().sum(dim=1) / count.clamp_min(1)
    pairs = (known[:, 1:] & known[:, :-1]).sum(dim=1)
    # The lag-one autocorrelation r_1 = mean(e_t e_{t+1}) / mean(e_t^2), without subtracting a mean:
    # an offset of the residuals is a pattern, too.
    correlation = (values[:, 1:] * values[:, :-1]).sum(dim=1) / (pairs * mean_square)
    correlation = torch.where((pairs > 1) & (mean_square > 0.0), correlation, torch.nan)
    # For white noise, r_1 of m pairs is nearly normal with standard deviation 1 / sqrt(m). Only
    # positive correlations count: a wrong model leaves smooth residuals.
    alike = (correlation * pairs.sqrt() > _CORRELATED) & (pairs >= _PAIRS)
    return Pattern(correlation, alike, mean_square, count)


@dataclass(frozen=True)
class ResidualCheck:
    """What the residuals of N trajectories look like.

    Attributes:
        correlation: (N, O), correlation of successive residuals; pairs with a gap between them do
            not count.
        patterned: (N,), whether it is larger than by chance for some output.
        exact: (N,), whether all residuals are negligible compared with the data.
        wrong: (N,), whether a fit should be tried again: its residuals follow a pattern, or much of
            the variance is unexplained.
    """

    correlation: Tensor
    patterned: Tensor
    exact: Tensor
    wrong: Tensor


def check_residuals(problem: FitProblem, predicted: Tensor, z: Tensor) -> ResidualCheck:
    """Check the residuals of predictions (N, T, O) at coordinates z (N, D)."""
    found = pattern_of(problem.residuals(predicted))
    size, around = _of_data(problem)
    exact = found.negligible(size)
    if not problem.is_squared:
        # Where the noise is not the same everywhere, large residuals alone would make the pattern.
        found = replace(
            pattern_of(problem.standardized(predicted, noise_table(problem, z))),
            mean_square=found.mean_square,
        )
    patterned = found.alike.any(dim=1) & ~exact
    unexplained = ((found.mean_square > _UNEXPLAINED * around) & (around > 0.0)).any(dim=1) & ~exact
    return ResidualCheck(found.correlation, patterned, exact, patterned | unexplained)


def _of_data(problem: FitProblem) -> tuple[Tensor, Tensor]:
    """Return the mean square (N, O) of the data, 1 where noise is relative, and their variance."""
    noise, observed = problem.distribution, problem.records.observed
    values = noise.transformed(observed)
    seen = values.isfinite()
    count = seen.sum(dim=1).clamp_min(1)
    values = torch.where(seen, values, 0.0)
    mean = values.sum(dim=1) / count
    around = (torch.where(seen, values - mean.unsqueeze(1), 0.0)).square().sum(dim=1) / count
    size = torch.where(seen, noise.magnitude(observed), 0.0).square().sum(dim=1) / count
    return size, around


def misfit(
    patterned: Tensor, scarce: Tensor, outlying: Tensor, chi_square: Tensor, freedom: Tensor
) -> Tensor:
    """Return (N,) the bits of `warp_phys.systems.schema.flags.MISFIT` that are set.

    Args:
        patterned: (N,), whether the residuals follow a pattern.
        scarce: (N,), whether an output has hardly more values than unknowns.
        outlying: (N,), whether a value is far from what the others predict.
        chi_square: (N,), sum of squares over the known variances; NaN where those are unknown.
        freedom: (N,), its degrees of freedom.
    """
    # With known variances the sum of squares has a chi-square distribution with n - p degrees of
    # freedom: an improbably large one means a wrong model or too small variances.
    tail = stats.chi2.sf(chi_square.numpy(), freedom.clamp_min(1.0).numpy())
    excess = torch.from_numpy(tail < _BY_CHANCE) & chi_square.isfinite()
    return 1 * patterned.long() + 2 * excess.long() + 4 * scarce.long() + 8 * outlying.long()
