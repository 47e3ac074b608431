"""Following profiles outward from the optimum, until tau reaches its target.

The minimization at one point of a path starts where those at neighboring points ended.
"""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.fitting.uncertainty.bounded_descent import BoundedDescent, Minimum
from warp_phys.fitting.uncertainty.crossing import Crossings
from warp_phys.fitting.uncertainty.profile import Profiles
from warp_phys.fitting.uncertainty.searched import Searched

# Multiple of the quantile from which on tau only has to be known to be above it.
_FAR_ABOVE = 2.0
# Multiple of the quantile up to which tau at a predicted point is low enough to start there.
_AS_PREDICTED = 1.5
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


class Path:
    """The search along the profiles of some ends; x is the distance in the chart.

    Args:
        profiles: The fits, where a lower objective than theirs is remembered.
        ends: The ends that are searched.
    """

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
        # Tau rises by one for each standard error.
        rise = target * self.chart.slope(self.origin) / (half * slopes.abs())
        self.crossings = Crossings(target, first, self._distance(self._limits(half)), rise)
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
        target, least = self.crossings.target[chosen], self.least[chosen]
        enough, most = (
            least + 0.5 * (factor * target).square() for factor in (_AS_PREDICTED, _FAR_ABOVE)
        )
        # Where the prediction from other points is a worse start than the last point, that is used.
        found = descent.run(along, stay, enough, most)
        swapped = found.other[ends.copy].unsqueeze(1)
        self._try_again(chosen, torch.where(swapped, along, stay), most, found)
        if profiles.over():
            return
        gain = least - found.objective
        profiles.remember_lower(ends, found.values, gain)
        tau = (-2.0 * gain).clamp_min(0.0).sqrt()
        # By the envelope theorem, the profile has the derivative of the objective by the unknown
        # that is held; and tau dtau/dx = dPhi/dx.
        slope = ends.sides * ends.pooled(torch.where(held, found.slope, 0.0).sum(dim=1)) / tau
        low = self.crossings.take(chosen, x, tau, slope)[ends.copy]
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
        anything = torch.full_like(most[again], torch.inf)
        limit = most[again].minimum(found.objective[again])
        second = descent.run(other[mine], other[mine], anything, limit)
        lower = second.objective < found.objective[again]
        found.objective[again[lower]] = second.objective[lower]
        taken = lower[part.copy]
        found.values[mine[taken]] = second.values[taken]
        found.slope[mine[taken]] = second.slope[taken]

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
        matrix = profiles.information[ends.lanes] * slopes.unsqueeze(1) * slopes.unsqueeze(2)
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
