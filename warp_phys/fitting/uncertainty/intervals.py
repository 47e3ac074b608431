r"""Confidence intervals from t quantiles, or from the profile likelihood where those mislead.

With the noise variances s_o^2 held at their estimates with n - p degrees of freedom, the profile t
function of Bates and Watts is

    tau_j(x)^2 = min_{theta_j = x} sum_o Q_o / s_o^2 - min sum_o Q_o / s_o^2,

and the interval is where it stays below the t quantile with n - p degrees of freedom: for one noise
level this is where the profile of the sum of squares Q stays below Q_min (1 + F / (n - p)), with
the quantile F = t^2 of the F distribution with 1 and n - p degrees of freedom. A parameter at the
end of its support is not counted in p. Tau is linear in x for a model that is linear in theta, and
the interval then is the quadratic one. Each end of the quadratic interval is tested: where tau
there, without the other unknowns adjusting any further, puts the end elsewhere, both ends are found
by minimizing over the others. Where the information gives no quadratic interval, because another
unknown is undetermined or at the end of its support, the profile always is followed. Where unknowns
are shared by different groupings, and for a loss that is not a square, intervals are quadratic.

References:
    D. M. Bates, D. G. Watts, Nonlinear Regression Analysis and Its Applications, Wiley, 1988,
    sec. 6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from warp_phys.fitting.setting import LANES
from warp_phys.fitting.solved import Solved
from warp_phys.fitting.uncertainty.covariance import Uncertainty
from warp_phys.fitting.uncertainty.path import Path
from warp_phys.fitting.uncertainty.profile import Profiles
from warp_phys.fitting.uncertainty.searched import searched
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.optimum import Outcome

# How far tau may deviate, relatively, from the quadratic approximation before it is profiled, and
# how much of an end's own value this may change: three digits.
_OFF, _DIGITS = 0.1, 5e-4
# An end nearer to zero than this share of the width of its interval is not resolved by digits.
_SMALL = 0.05
# In a larger group, unknowns that its trajectories do not share keep their quadratic intervals:
# each of them needs fits of the whole group.
_GROUP = 64


@dataclass(frozen=True)
class Intervals:
    """Ends of the intervals of N trajectories' unknowns, in physical units.

    Attributes:
        lower: (N, D), NaN where undetermined.
        upper: (N, D).
        profiled: (N, D), whether they come from the profile likelihood.
        gain: (N,), by how many nats a profile led below the objective of the fit; otherwise 0.
        start: (N, D), the coordinates where it did.
    """

    lower: Tensor
    upper: Tensor
    profiled: Tensor
    gain: Tensor
    start: Tensor


def intervals(
    problem: FitProblem,
    solved: Solved,
    known: Uncertainty,
    level: float,
    over: Callable[[], bool],
) -> Intervals:
    """Return confidence intervals of probability `level`."""
    # The two-sided t quantile with n - p degrees of freedom, and the normal one where the noise is
    # known (infinite freedom). The half width is then t sqrt((F^-1)_jj).
    quantile = torch.from_numpy(
        np.asarray(stats.t.ppf(0.5 + 0.5 * level, known.freedom.clamp_min(1e-9).numpy()))
    )
    quantile = torch.where(known.freedom > 0.0, quantile, torch.nan)
    converged = solved.outcome == Outcome.CONVERGED
    half = quantile.unsqueeze(1) * known.line_errors()
    half = torch.where(converged.unsqueeze(1), half, torch.nan)
    # The ends are coordinates; a monotonic bijection maps quantiles onto quantiles. It decreases
    # for a support with an upper bound alone, hence the minimum and maximum.
    both = [problem.unknowns.values(solved.z + side * half) for side in (-1.0, 1.0)]
    lower, upper = torch.minimum(*both), torch.maximum(*both)
    profiles = Profiles(problem, solved, known, quantile, half, over)
    # Residuals that are rounding errors have no likelihood: tau would be dominated by rounding.
    sound = converged & ~solved.exact & (quantile > 0.0)
    followed = problem.is_squared or (problem.is_whole and problem.prior is None)
    grouped = problem.unknowns.places is not None
    if followed and not grouped and sound.any() and not over():
        doubtful = _doubtful(problem, profiles, upper - lower, sound)
        for ends in searched(problem, doubtful, converged):
            if over():
                break
            profiles.enter(ends, Path(profiles, ends).values())
    found = profiles.found
    profiled = ~found.lower.isnan() & ~found.upper.isnan()
    return Intervals(
        torch.where(profiled, found.lower, lower),
        torch.where(profiled, found.upper, upper),
        profiled,
        found.gain,
        found.start,
    )


def _doubtful(problem: FitProblem, profiles: Profiles, width: Tensor, sound: Tensor) -> Tensor:
    """Return (N, D): which intervals are to be taken from the profile likelihood."""
    half, shared = profiles.half, problem.unknowns.shared
    doubtful = sound.unsqueeze(1) & problem.unknowns.estimated()
    if shared:
        sizes = torch.bincount(problem.group)[problem.group]
        doubtful[:, shared:] &= (sizes <= _GROUP).unsqueeze(1)
        return doubtful
    regular = doubtful & half.isfinite() & (half > 0.0)
    # The quadratic approximation keeps an unknown at the end of its support, which leaves it along
    # the profiles of the others.
    regular &= ~profiles.solved.frozen.any(dim=1, keepdim=True)
    return (doubtful & ~regular) | _misleading(profiles, width, regular)


def _misleading(profiles: Profiles, width: Tensor, regular: Tensor) -> Tensor:
    """Return (N, D): whether tau at either end of the quadratic interval puts it elsewhere."""
    unknowns = profiles.problem.unknowns
    found = torch.zeros_like(regular)
    for part in regular.nonzero().split(LANES):
        rows, columns = part.T
        for side in (-1.0, 1.0):
            z, tau = profiles.at_quadratic_end(rows, columns, side)
            off = (tau / profiles.quantile[rows] - 1.0).abs()
            end, slope, half = (
                table.gather(1, columns.unsqueeze(1))[:, 0].abs()
                for table in (unknowns.values(z), unknowns.slopes(z), profiles.half[rows])
            )
            # For a linear model tau equals the quantile exactly there.
            exact = off * half * slope <= _DIGITS * end.maximum(_SMALL * width[rows, columns])
            # Written with a negation, so that a NaN, from a model that cannot be integrated that
            # far out, counts as misleading.
            found[rows, columns] |= ~((off <= _OFF) & exact)
    return found
