r"""The profile likelihood: the least objective as a function of one unknown, followed to a level.

With the noise variances s_o^2 held at their estimates, Phi = sum_o Q_o / (2 s_o^2), and the profile
t function of Bates and Watts is tau_j(x) = sqrt(2 (min Phi at theta_j = x) - 2 Phi_min). Each end
of an interval is followed outward from the optimum, and the minimization at one x starts where
those at neighboring x ended.

References:
    D. M. Bates, D. G. Watts, Nonlinear Regression Analysis and Its Applications, Wiley, 1988,
    sec. 6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from warp_phys.fitting.solved import Solved
from warp_phys.fitting.uncertainty.bounded_descent import BoundedDescent, Minimum
from warp_phys.fitting.uncertainty.charts import Charts
from warp_phys.fitting.uncertainty.covariance import Uncertainty
from warp_phys.fitting.uncertainty.crossing import Crossings
from warp_phys.fitting.uncertainty.searched import Searched
from warp_phys.likelihood.damped_step import unpack
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.noise_levels import held_levels
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.objective import Minimizer

# Multiple of the quantile from which on tau only has to be known to be above it.
_FAR_ABOVE = 2.0
# Evaluations of each profile at most; most need three to six.
_ROUNDS = 40
# An interval that extends this many powers of e beyond the value and its usual range, or half
# widths of a real unknown, is open.
_OPEN, _WIDEST = 10.0, 30.0
# Half width of a quadratic interval, in powers of e, from which on it says nothing.
_VAGUE = 3.0
# A distance from a bound that makes no difference to the objective, in standard errors.
_NEGLIGIBLE = 1e-6
# Eigenvalues, relative to a unit diagonal, of directions that the data do not determine.
_ROUNDING = 1e-9
# A lower objective than that of the fit counts from this many nats on, and nats per value.
_LOWER, _LOWER_PER_VALUE = 1e-3, 1e-6


@dataclass(frozen=True)
class Ends:
    """What was found along profiles of N trajectories with D unknowns.

    Attributes:
        lower: (N, D), physical values, NaN where not searched or not found in time.
        upper: (N, D).
        gain: (N,), by how many nats the objective was lower than that of the fit, if it was.
        start: (N, D), the coordinates with that objective.
    """

    lower: Tensor
    upper: Tensor
    gain: Tensor
    start: Tensor


class Profiles:
    """Follows the profiles of fits until tau reaches a quantile.

    Args:
        problem: The problem that was fitted.
        solved: Its fits.
        known: Their uncertainty.
        quantile: (N,), the tau at which an interval ends.
        half: (N, D), half widths of quadratic intervals in coordinates, NaN where undetermined.
        over: Returns whether the time is up.
    """

    def __init__(
        self,
        problem: FitProblem,
        solved: Solved,
        known: Uncertainty,
        quantile: Tensor,
        half: Tensor,
        over: Callable[[], bool],
    ) -> None:
        self.problem, self.solved, self.over = problem, solved, over
        self.variance, self.covariance = known.noise_variance, known.line_covariance
        self.quantile, self.half = quantile, half
        levels = held_levels(self.variance)
        self.least = levels.objective(solved.sums.squares, solved.sums.counted)
        self.values = problem.unknowns.values(solved.z)
        self.slopes = problem.unknowns.slopes(solved.z)
        nothing = torch.full_like(half, torch.nan)
        gain = torch.zeros(len(problem), dtype=half.dtype)
        self.found = Ends(nothing, nothing.clone(), gain, solved.z.clone())

    def at_quadratic_end(self, rows: Tensor, columns: Tensor, side: float) -> tuple[Tensor, Tensor]:
        """Return z (n, D) at an end of quadratic intervals, and tau (n,) without minimizing.

        The others move along the profile of the quadratic approximation, by h C_ij / C_jj where
        z_j moves by h: the regression of z_i on z_j.
        """
        row = self.covariance[rows, columns]
        own = row.gather(1, columns.unsqueeze(1))
        z = self.solved.z[rows] + side * self.half[rows, columns].unsqueeze(1) * row / own
        every = torch.arange(len(rows))
        minimizer = self.minimizer(Searched(rows, columns, every.double(), rows, every))
        minimizer.evaluate(z, every, sensitivities=False)
        reached = minimizer.levels.objective(minimizer.sums.squares, minimizer.sums.counted)
        return z, (2.0 * (reached - self.least[rows])).clamp_min(0.0).sqrt()

    def minimizer(self, ends: Searched) -> Minimizer:
        """Return the objective of the lanes of some ends, with the noise held at its level."""
        rows = ends.lanes
        # All trajectories of a group have the same noise level.
        level = torch.ones(len(ends), self.variance.shape[1], dtype=self.variance.dtype)
        level[ends.copy] = self.variance[rows]
        engine = build_engine(self.problem, rows, self.problem.counts[rows])
        return Minimizer(engine, self.problem.unknowns, rows, ends.copy, held_levels(level))

    def information(self, rows: Tensor) -> Tensor:
        """Return the Fisher information (n, D, D) by physical values, also of those at a bound."""
        sums = self.solved.sums
        weights = 1.0 / self.variance[rows]
        return unpack((sums.hessian[rows] * weights.unsqueeze(2)).sum(dim=1), self.slopes.shape[1])

    @cached_property
    def charts(self) -> Charts:
        """The coordinates (N, D) in which profiles are followed."""
        matrix = self.information(torch.arange(len(self.problem)))
        # Standard errors with the others held: those of undetermined unknowns have no bound, and
        # would make their coordinates linear over all orders of magnitude.
        precision = matrix.diagonal(dim1=1, dim2=2).nan_to_num(0.0).clamp_min(0.0).clone()
        shared, group = self.problem.unknowns.shared, self.problem.group
        # A shared unknown has one coordinate in all lanes of its group.
        whole = precision.new_zeros(int(group.max()) + 1, shared)
        precision[:, :shared] = whole.index_add_(0, group, precision[:, :shared])[group]
        return Charts.of(self.problem.unknowns, self.values, precision.rsqrt())

    def follow(self, ends: Searched) -> None:
        """Search some ends and enter them in `found`."""
        values = _Path(self, ends).values()
        # The end of a shared unknown is that of its whole group.
        lanes, columns = ends.held(self.problem.unknowns.shared, self.values.shape[1]).nonzero().T
        copies, rows = ends.copy[lanes], ends.lanes[lanes]
        for side, table in ((-1.0, self.found.lower), (1.0, self.found.upper)):
            chosen = ends.sides[copies] == side
            table[rows[chosen], columns[chosen]] = values[copies[chosen]]

    def remember_lower(self, ends: Searched, values: Tensor, gain: Tensor) -> None:
        """Remember where the objective is lower than that of the fit by `gain` (C,) nats."""
        counted = ends.pooled(self.solved.sums.counted[ends.lanes].sum(dim=1))
        for number in (gain > _LOWER + _LOWER_PER_VALUE * counted).nonzero()[:, 0].tolist():
            mine = ends.copy == number
            rows = ends.lanes[mine]
            if gain[number] > self.found.gain[rows[0]]:
                self.found.gain[rows] = gain[number]
                self.found.start[rows] = self.problem.unknowns.coordinates(values[mine])


class _Path:
    """The search along the profiles of some ends; x is the distance in the chart."""

    def __init__(self, profiles: Profiles, ends: Searched) -> None:
        self.profiles, self.ends = profiles, ends
        unknowns, rows, columns = profiles.problem.unknowns, ends.rows, ends.columns
        self.held = ends.held(unknowns.shared, len(unknowns))
        self.charts = profiles.charts.select(ends.lanes)
        lead = ((ends.lanes == rows[ends.copy]).nonzero())[:, 0]
        self.chart = self.charts.select(lead).column(columns)
        self.origin = profiles.values[rows, columns]
        self.begin = self.chart.coordinate(self.origin)
        self.least = ends.pooled(profiles.least[ends.lanes])
        half = torch.where(
            profiles.solved.frozen[rows, columns], torch.nan, profiles.half[rows, columns]
        )
        slopes = profiles.slopes[rows, columns]
        # The end of the quadratic interval; without one, that with the chart's standard error.
        shift = ends.sides * torch.where(slopes < 0.0, -half, half)
        quadratic = self._moved(profiles.solved.z[rows], columns, shift)
        error = self.chart.scale / self.chart.slope(self.origin)
        target = profiles.quantile[rows]
        first = torch.where(half.isfinite(), self._distance(quadratic), target * error)
        self.crossings = Crossings(target, first, self._distance(self._limits(half)))
        self.at_below = self.charts.coordinate(profiles.values[ends.lanes])
        self.at_before, self.at_above = self.at_below.clone(), self.at_below.clone()
        self.direction = self._tangent()
        # Some unknown far from its bound may as well be infinite.
        wide = ~(profiles.half[ends.lanes] < _VAGUE) & ~unknowns.real
        wide &= profiles.values[ends.lanes] - self.charts.low > self.charts.scale
        self.vague = ends.pooled(wide.any(dim=1).double()) > 0.0

    def values(self) -> Tensor:
        """Return the physical values (C,) at which tau reaches the target, NaN if out of time."""
        over = self.profiles.over
        for _ in range(_ROUNDS):
            searching = self.crossings.open()
            if searching.numel() == 0 or over():
                break
            self._evaluate(searching)
        if not over():
            self.crossings.give_up()
        x = self.crossings.found
        value = self.chart.value(self.begin + self.ends.sides * x.nan_to_num(0.0, posinf=0.0))
        value = torch.where(x.isnan(), torch.nan, value)
        bound = torch.where(self.ends.sides < 0.0, self.chart.low, self.chart.high)
        return torch.where(x == torch.inf, bound, value)

    def _evaluate(self, chosen: Tensor) -> None:
        """Evaluate tau at the next x of some ends."""
        profiles = self.profiles
        ends, lanes = self.ends.select(chosen)
        x = self.crossings.propose(chosen)
        value = self.chart.select(chosen).value(self.begin[chosen] + ends.sides * x)
        held, charts = self.held[lanes], self.charts.select(lanes)
        along, stay = (
            torch.where(held, value[ends.copy].unsqueeze(1), charts.value(at))
            for at in (self._predicted(chosen, x, ends, lanes), self.at_below[lanes])
        )
        descent = BoundedDescent(profiles.minimizer(ends), charts, held, profiles.over)
        # Where the prediction from other points is a worse start than the last point, that is used.
        worse = (~(descent.objective(along) <= descent.objective(stay)))[ends.copy].unsqueeze(1)
        most = self.least[chosen] + 0.5 * (_FAR_ABOVE * self.crossings.target[chosen]).square()
        found = descent.run(torch.where(worse, stay, along), most)
        self._try_again(chosen, torch.where(worse, along, stay), most, found)
        if profiles.over():
            return
        gain = self.least[chosen] - found.objective
        profiles.remember_lower(ends, found.values, gain)
        low = self.crossings.take(chosen, x, (-2.0 * gain).clamp_min(0.0).sqrt())[ends.copy]
        at = charts.coordinate(found.values)
        self.at_before[lanes[low]] = self.at_below[lanes[low]]
        self.at_below[lanes[low]] = at[low]
        self.at_above[lanes[~low]] = at[~low]

    def _try_again(self, chosen: Tensor, other: Tensor, most: Tensor, found: Minimum) -> None:
        """Minimize from the other start, too, where the data hardly determine some unknowns.

        The objective of an unknown that may as well be infinite is flat far out, where a start
        would stay.
        """
        ends, lanes = self.ends.select(chosen)
        again = self.vague[chosen].nonzero()[:, 0]
        part, mine = ends.select(again)
        if not len(again):
            return
        charts, held = self.charts.select(lanes[mine]), self.held[lanes[mine]]
        descent = BoundedDescent(self.profiles.minimizer(part), charts, held, self.profiles.over)
        second = descent.run(other[mine], most[again].minimum(found.objective[again]))
        lower = second.objective < found.objective[again]
        found.objective[again[lower]] = second.objective[lower]
        taken = lower[part.copy]
        found.values[mine[taken]] = second.values[taken]

    def _predicted(self, chosen: Tensor, x: Tensor, ends: Searched, lanes: Tensor) -> Tensor:
        """Return where the other unknowns may be at x, on a line through two known points."""
        known, copy = self.crossings, ends.copy
        below, above, before = known.below[chosen], known.above[chosen], known.before[chosen]
        between = known.tau_above[chosen].isfinite()
        share = ((x - below) / (torch.where(between, above, before) - below))[copy].unsqueeze(1)
        other = torch.where(between[copy].unsqueeze(1), self.at_above[lanes], self.at_before[lanes])
        line = self.at_below[lanes] + share * (other - self.at_below[lanes])
        tangent = self.at_below[lanes] + self.direction[lanes] * x[copy].unsqueeze(1)
        first = ((below == 0.0) & ~between)[copy].unsqueeze(1)
        return torch.where(first, tangent, line)

    def _tangent(self) -> Tensor:
        """Return the change (L, D) of the others with x along the profile at the optimum."""
        profiles, ends = self.profiles, self.ends
        if profiles.problem.unknowns.shared:
            # The equations of a group couple its lanes; the first step of the minimization solves
            # them.
            return torch.zeros_like(self.at_below)
        slopes = self.charts.slope(profiles.values[ends.lanes])
        matrix = profiles.information(ends.lanes) * slopes.unsqueeze(1) * slopes.unsqueeze(2)
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        still = self.held | profiles.solved.frozen[ends.lanes] | ~(diagonal > 0.0)
        scale = torch.where(still, 0.0, torch.where(still, 1.0, diagonal).rsqrt())
        scaled = matrix * scale.unsqueeze(1) * scale.unsqueeze(2)
        # One on the diagonal of those that stay, and a ridge against singular equations.
        scaled = scaled + torch.diag_embed(still.to(scale.dtype) + _ROUNDING)
        # Minimizing a quadratic form with a_j moved by h moves the others by -A_oo^-1 A_oj h.
        column = (matrix * self.held.unsqueeze(1)).sum(dim=2)
        move = -torch.linalg.solve(scaled, (column * scale).unsqueeze(2)).squeeze(2) * scale
        return move * ends.sides.unsqueeze(1)

    def _limits(self, half: Tensor) -> Tensor:
        """Return the farthest values (C,), beyond which an interval is open."""
        profiles, columns, sides = self.profiles, self.ends.columns, self.ends.sides
        unknowns, rows = profiles.problem.unknowns, self.ends.rows
        z, spread = profiles.solved.z[rows], unknowns.spreads[columns]
        own = z.gather(1, columns.unsqueeze(1))[:, 0]
        # In coordinates, of which only those of supports with an upper bound alone decrease.
        upward = sides * profiles.slopes[rows, columns].sign()
        half = half.nan_to_num(0.0)
        usual = unknowns.middles[columns] + upward * spread
        beyond = (upward * (usual - own)).clamp_min(0.0) + half.clamp_max(_OPEN) + _OPEN
        wide = _WIDEST * half.maximum(spread)
        shift = upward * torch.where(unknowns.real[columns], wide, beyond)
        # For a value near a bound this is nearer to the bound than makes a difference.
        margin = _NEGLIGIBLE * self.chart.scale
        value = self._moved(z, columns, shift)
        value = value.maximum(self.chart.low + margin).minimum(self.chart.high - margin)
        return self.chart.inside(value)

    def _moved(self, z: Tensor, columns: Tensor, shift: Tensor) -> Tensor:
        """Return the values (C,) of unknowns whose coordinates are moved."""
        moved = z.scatter_add(1, columns.unsqueeze(1), shift.unsqueeze(1))
        return self.profiles.problem.unknowns.values(moved).gather(1, columns.unsqueeze(1))[:, 0]

    def _distance(self, value: Tensor) -> Tensor:
        """Return x (C,) of physical values, positive also where they are at the optimum."""
        return (self.ends.sides * (self.chart.coordinate(value) - self.begin)).clamp_min(1e-12)
