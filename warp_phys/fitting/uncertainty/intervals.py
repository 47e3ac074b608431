r"""Confidence intervals from t quantiles, or from the profile likelihood where those mislead.

With the noise held at its estimated level, the profile t function of Bates and Watts is
tau_j(x) = sqrt(2 (min Phi at theta_j = x) - 2 Phi_min). It is linear in x for a model that is
linear in theta, and the interval is where it stays below the t quantile. Each end of the quadratic
interval is tested: where tau there, without the other unknowns adjusting any further, is off by
more than a tenth, the end is found by minimizing over the others.

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

from warp_phys.fitting.solved import Solved
from warp_phys.fitting.uncertainty.covariance import Uncertainty
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.noise_levels import held_levels
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.levenberg_marquardt import minimize
from warp_phys.minimizing.objective import Minimizer
from warp_phys.minimizing.optimum import Options, Outcome

# How far tau may deviate, relatively, from the quadratic approximation before it is profiled.
_OFF = 0.1
# Rounds of the secant method, and the relative error of tau at which an end is found.
_ROUNDS, _FOUND = 8, 2e-2
# An interval that extends this many half widths, or powers of e, further out is open.
_WIDEST, _OPEN = 30.0, 10.0
# Lanes in one call: bounds the memory of the engine.
_LANES = 16_384


@dataclass(frozen=True)
class Intervals:
    """Ends of the intervals of N trajectories' unknowns, in physical units.

    Attributes:
        lower: (N, D), NaN where undetermined.
        upper: (N, D).
        profiled: (N, D), whether they come from the profile likelihood.
    """

    lower: Tensor
    upper: Tensor
    profiled: Tensor


def intervals(
    problem: FitProblem,
    solved: Solved,
    known: Uncertainty,
    level: float,
    over: Callable[[], bool],
) -> Intervals:
    """Return confidence intervals of probability `level`."""
    errors = known.line_errors()
    # The two-sided t quantile with n - p degrees of freedom, and the normal one where the noise is
    # known (infinite freedom). The half width is then t sqrt((F^-1)_jj).
    quantile = torch.from_numpy(
        np.asarray(stats.t.ppf(0.5 + 0.5 * level, known.freedom.clamp_min(1e-9).numpy()))
    )
    quantile = torch.where(known.freedom > 0.0, quantile, torch.nan)
    converged = solved.outcome == Outcome.CONVERGED
    half = torch.where(converged.unsqueeze(1), quantile.unsqueeze(1) * errors, torch.nan)
    ends = torch.stack([solved.z - half, solved.z + half])
    profiled = torch.zeros_like(half, dtype=torch.bool)
    # Residuals that are rounding errors have no likelihood: tau would be dominated by rounding.
    sound = converged & ~solved.exact
    # Initial states keep their quadratic intervals: each profile costs a minimization per end.
    is_parameter = torch.tensor([entry.kind == "parameter" for entry in problem.unknowns.entries])
    usable = sound.unsqueeze(1) & is_parameter & half.isfinite() & (half > 0.0)
    squared = problem.distribution.is_squared
    if not problem.unknowns.shared and squared and usable.any() and not over():
        profile = _Profile(problem, solved, known, quantile, half)
        doubtful = usable & profile.misleading(usable)
        if doubtful.any() and not over():
            found, good = profile.ends(doubtful, over)
            profiled = doubtful & good
            ends = torch.where(profiled, found, ends)
    # The ends are coordinates; a monotonic bijection maps quantiles onto quantiles. It decreases
    # for a support with an upper bound alone, hence the minimum and maximum.
    lower, upper = (problem.unknowns.values(end) for end in ends)
    return Intervals(torch.minimum(lower, upper), torch.maximum(lower, upper), profiled)


class _Profile:
    """Profiles the likelihood; a lane is a (trajectory, unknown, side), that unknown held."""

    def __init__(
        self,
        problem: FitProblem,
        solved: Solved,
        known: Uncertainty,
        quantile: Tensor,
        half: Tensor,
    ) -> None:
        self.problem = problem
        self.solved = solved
        self.variance = known.noise_variance
        self.covariance = known.line_covariance
        self.quantile = quantile
        self.half = half
        # Bates and Watts profile S(theta) / s^2 with s fixed at the estimate: 2 Phi then is a sum
        # of squares over s^2, and tau is on the scale of t.
        levels = held_levels(self.variance)
        self.least = levels.objective(solved.sums.squares, solved.sums.counted)

    def misleading(self, usable: Tensor) -> Tensor:
        """Return (N, D): whether tau at either end of the quadratic interval deviates."""
        rows, columns, sides = self._lanes(usable)
        z = self._along(rows, columns, sides * self.half[rows, columns])
        tau = torch.cat(
            [
                self._minimizer(rows[part]).tau(z[part], self.least[rows[part]])
                for part in torch.arange(len(rows)).split(_LANES)
            ]
        )
        # For a linear model tau equals the quantile exactly there. Written with a negation, so that
        # a NaN, from a model that cannot be integrated that far out, counts as misleading.
        off = ~((tau / self.quantile[rows] - 1.0).abs() <= _OFF)
        found = torch.zeros_like(usable)
        found[rows[off], columns[off]] = True
        return found

    def ends(self, doubtful: Tensor, over: Callable[[], bool]) -> tuple[Tensor, Tensor]:
        """Return coordinates of both ends (2, N, D), and where they were found (N, D)."""
        ends = torch.full((2, *doubtful.shape), torch.nan, dtype=torch.float64)
        rows, columns, sides = self._lanes(doubtful)
        for part in torch.arange(len(rows)).split(_LANES):
            if over():
                break
            row, column, side = rows[part], columns[part], sides[part]
            place = torch.where(side < 0.0, 0, 1)
            ends[place, row, column] = self._search(row, column, side, over)
        return ends, ends.isnan().logical_not().all(dim=0)

    def _lanes(self, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, columns = chosen.nonzero().T
        sides = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat_interleave(len(rows))
        return rows.repeat(2), columns.repeat(2), sides

    def _along(self, rows: Tensor, columns: Tensor, shift: Tensor) -> Tensor:
        """Move an unknown, and the others along the profile of the quadratic approximation."""
        # Minimizing a quadratic form with z_j shifted by h moves the others by h C_ij / C_jj, the
        # regression of z_i on z_j. Minimizations start there, close to their optimum.
        row = self.covariance[rows, columns]
        own = row.gather(1, columns.unsqueeze(1))
        return self.solved.z[rows] + shift.unsqueeze(1) * row / own

    def _minimizer(self, rows: Tensor) -> _Held:
        return _Held(self.problem, rows, self.variance[rows])

    def _search(
        self, rows: Tensor, columns: Tensor, sides: Tensor, over: Callable[[], bool]
    ) -> Tensor:
        """Find where tau reaches the quantile, by the secant method in the held unknown.

        The abscissa x is the distance from the optimum, where tau(0) = 0 is known; the first trial
        is the quadratic end, x = half.
        """
        place = torch.arange(len(rows))
        half, target = self.half[rows, columns], self.quantile[rows]
        at, before, tau_before = half.clone(), torch.zeros_like(half), torch.zeros_like(half)
        most = torch.minimum(_WIDEST * half, half + _OPEN * self._size(rows, columns))
        center = self.solved.z[rows, columns]
        z = self._along(rows, columns, sides * at)
        frozen = self.solved.frozen[rows].clone()
        frozen[place, columns] = True
        found = torch.full_like(half, torch.nan)
        left = place
        for _ in range(_ROUNDS):
            held = self._minimizer(rows[left])
            z[left], tau = held.profile(z[left], frozen[left], self.least[rows[left]], over)
            x, x_before, goal = at[left], before[left], target[left]
            # x+ = x + (t - tau(x)) (x - x_before) / (tau(x) - tau_before). A negative slope is
            # clamped to zero, which makes the step infinite and selects the fallback.
            slope = (tau - tau_before[left]) / (x - x_before)
            wanted = x + (goal - tau) / slope.clamp_min(0.0)
            # Where the secant is unusable, or extrapolates to more than four times the distance:
            # twice as far out if tau is too small, otherwise halfway back to the last point.
            fallback = torch.where(tau < goal, 2.0 * x, 0.5 * (x + x_before))
            usable = wanted.isfinite() & (wanted > 0.0) & (wanted < 4.0 * x)
            following = torch.where(usable, wanted, fallback).minimum(most[left])
            near = (tau / goal - 1.0).abs() <= _FOUND
            # The last secant step is taken without a check: convergence is superlinear.
            found[left] = torch.where(near, following, torch.nan)
            # tau that stays below the quantile out to the widest point: the profile is flat and the
            # interval has no end on this side (a parameter that is not identifiable above, say).
            open_end = ~near & (tau < goal) & (x >= most[left])
            found[left] = torch.where(open_end, torch.inf, found[left])
            # An infinite tau, where integration fails, would spoil the next secant.
            finite = tau.isfinite()
            before[left] = torch.where(finite, x, x_before)
            tau_before[left] = torch.where(finite, tau, tau_before[left])
            at[left] = following
            left = found.isnan().nonzero()[:, 0]
            if left.numel() == 0 or over():
                break
            # The next minimization starts from the other unknowns of this one; from the optimum
            # where they are not finite. The held unknown is set to its new value.
            lost = ~z[left].isfinite().all(dim=1)
            z[left[lost]] = self.solved.z[rows[left[lost]]]
            z[left, columns[left]] = center[left] + sides[left] * at[left]
        # Where the model cannot be integrated any further out, and tau was still too small at the
        # last point where it could, nothing closes the interval.
        if not over():
            found = torch.where(found.isnan() & (tau_before < target), torch.inf, found)
        return center + sides * found

    def _size(self, rows: Tensor, columns: Tensor) -> Tensor:
        sizes = self.problem.unknowns.sizes(self.solved.z[rows])
        return sizes.gather(1, columns.unsqueeze(1)).squeeze(1)


class _Held:
    """Objective of lanes with the noise held at its level."""

    def __init__(self, problem: FitProblem, rows: Tensor, variance: Tensor) -> None:
        every = torch.arange(len(rows))
        levels = held_levels(variance)
        engine = build_engine(problem, rows, problem.counts[rows])
        self.minimizer = Minimizer(engine, problem.unknowns, rows, every, levels)
        self.every = every

    def tau(self, z: Tensor, least: Tensor) -> Tensor:
        """Return tau (L,) without minimizing."""
        self.minimizer.evaluate(z, self.every, sensitivities=False)
        sums = self.minimizer.sums
        objective = self.minimizer.levels.objective(sums.squares, sums.counted)
        return self._root(objective, least)

    def profile(
        self, z: Tensor, frozen: Tensor, least: Tensor, over: Callable[[], bool]
    ) -> tuple[Tensor, Tensor]:
        """Minimize over what is not frozen; return where, and tau there."""
        # A rough minimum is enough: Phi is stationary there, so that an error of 1e-3 in the other
        # unknowns changes tau only in second order.
        options = Options(tolerance=1e-3, max_iterations=12, out_of_time=over)
        optimum = minimize(self.minimizer, z, options, frozen=frozen)
        return optimum.z, self._root(optimum.objective, least)

    def _root(self, objective: Tensor, least: Tensor) -> Tensor:
        # Rounding, or a slightly better optimum than the fit found, may make it negative.
        tau = (2.0 * (objective - least)).clamp_min(0.0).sqrt()
        return torch.where(tau.isnan(), torch.inf, tau)
