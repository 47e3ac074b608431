r"""Levenberg-Marquardt within bounds, in the coordinates of `charts`, for many copies at once.

Each iteration solves (A + lambda diag A) s = b for the unknowns that are neither held nor at a
bound with the gradient pointing out of it. Unknowns whose step would cross a bound are put on it,
and the others are solved for again, given that: an active set method for the quadratic model. Where
the minimum lies on a bound, this ends there in a few steps, and an unknown leaves its bound again
as soon as the gradient points inward (the conditions of Karush, Kuhn and Tucker).

References:
    J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., Springer, 2006, sec. 16.5, 16.7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.fitting.uncertainty.charts import Charts
from warp_phys.likelihood.damped_step import Normal, damped_step, unpack
from warp_phys.minimizing.objective import Minimizer

# Predicted gain, in nats, of a last step. It is taken, and counted, without a check: the prediction
# is right to a tenth or so, and tau, about 2 where an interval ends, to 1e-5.
_EXACT = 1e-4
# After this many steps in a row without such a gain a copy ends where it is: its objective is
# rough, as that of a system which is nearly discontinuous at a bound.
_ITERATIONS, _IDLE = 80, 8
# How many steps a copy gets to come below an objective above which its minimum is of no interest.
_PATIENCE = 12
# Damping relative to a unit diagonal; below the second a step counts as undamped.
_FIRST, _FREE, _LEAST, _MOST = 1e-3, 1e-4, 1e-12, 1e10
# Longest step of a logarithm; of a real unknown in units of its scale.
_LONGEST, _LONGEST_REAL = 2.0, 10.0
# Share of the longest step from which on, whatever the rounding, a step was cut to that length.
_CUT = 0.999
# A last step, in units of the longest, that is taken without a check.
_TINY = 0.01
# Nats per value by which the objective may rise, by a new plan of integration steps.
_SLACK = 1e-8


@dataclass(frozen=True)
class Minimum:
    """The minima of C copies with L lanes.

    Attributes:
        values: (L, D), physical values.
        objective: (C,), infinite where there is no finite start.
        slope: (L, D), derivatives of the objective by the coordinates, those of held unknowns too.
        other: (C,), which began at their second start.
    """

    values: Tensor
    objective: Tensor
    slope: Tensor
    other: Tensor


class BoundedDescent:
    """Minimizes the objective of copies over the unknowns that are not held.

    Args:
        minimizer: Evaluates lanes; its groups are the copies.
        charts: (L, D), coordinates of the unknowns of each lane.
        held: (L, D), unknowns that stay.
        over: Returns whether the time is up.
    """

    def __init__(
        self,
        minimizer: Minimizer,
        charts: Charts,
        held: Tensor,
        over: Callable[[], bool],
    ) -> None:
        self.m, self.levels, self.charts = minimizer, minimizer.levels, charts
        self.held, self.over = held, over
        self.unknowns = minimizer.unknowns
        self.copy = minimizer.group
        low, high = charts.ends()
        self.low, self.high = charts.coordinate(low), charts.coordinate(high)
        self.longest = torch.where(self.unknowns.real, _LONGEST_REAL * charts.scale, _LONGEST)

    def run(self, values: Tensor, other: Tensor, enough: Tensor, most: Tensor) -> Minimum:
        """Return the minima that are reached from values (L, D).

        Args:
            values: The start.
            other: (L, D), a second one, for copies whose objective at the first is not low.
            enough: (C,), objectives that are low.
            most: (C,), objectives above which a minimum need not be exact.
        """
        copies = len(self.levels)
        every = torch.arange(len(values))
        values, swapped = self._begin(values, other, enough)
        self.at = self.charts.coordinate(values).maximum(self.low).minimum(self.high)
        self.damping = torch.full((copies,), _FIRST, dtype=values.dtype)
        self.idle = torch.zeros(copies, dtype=torch.int64)
        size = len(self.unknowns)
        self.matrix = values.new_zeros(len(values), size, size)
        self.vector = torch.zeros_like(values)
        self._renew(every, values)
        running = self.reached.isfinite()
        for number in range(_ITERATIONS):
            if number >= _PATIENCE:
                running &= self.reached <= most
            active = running.nonzero()[:, 0]
            if active.numel() == 0 or self.over():
                break
            running[active] = self._iterate(active)
        return Minimum(self.charts.value(self.at), self.reached, -self.vector, swapped)

    def _begin(self, values: Tensor, other: Tensor, enough: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the better start; return it and which copies (C,) begin at their second one."""
        every, swapped = torch.arange(len(values)), torch.zeros_like(enough, dtype=torch.bool)
        self.reached = self._evaluate(values, every, self.copy, len(enough))
        far = (~(self.reached <= enough)).nonzero()[:, 0]
        if not far.numel():
            return values, swapped
        lanes, copy = self._lanes_of(far)
        there = self._evaluate(other[lanes], lanes, copy, len(far), sensitivities=False)
        swapped[far] = there < self.reached[far]
        values = torch.where(swapped[self.copy].unsqueeze(1), other, values)
        self.reached[far] = self._evaluate(values[lanes], lanes, copy, len(far))
        return values, swapped

    def _lanes_of(self, copies: Tensor) -> tuple[Tensor, Tensor]:
        """Return the lanes of some copies, and which of these each belongs to."""
        number = torch.full((len(self.levels),), -1)
        number[copies] = torch.arange(len(copies))
        lanes = (number[self.copy] >= 0).nonzero()[:, 0]
        return lanes, number[self.copy[lanes]]

    def _evaluate(
        self,
        values: Tensor,
        lanes: Tensor,
        copy: Tensor,
        copies: int,
        *,
        sensitivities: bool = True,
    ) -> Tensor:
        z = self.unknowns.coordinates(values)
        self.m.evaluate(z, lanes, sensitivities=sensitivities)
        squares, counted = self.m.pooled(lanes, copy, copies)
        chosen = self.copy[lanes].new_zeros(copies).index_copy(0, copy, self.copy[lanes])
        reached = self.levels.of(chosen).objective(squares, counted)
        return torch.where(reached.isfinite(), reached, torch.inf)

    def _renew(self, lanes: Tensor, values: Tensor) -> None:
        """Recompute the equations of lanes, whose sums were evaluated at these values."""
        sums, z = self.m.sums, self.unknowns.coordinates(values)
        weights = self.levels.of(self.copy[lanes]).weights(sums.squares[lanes], sums.counted[lanes])
        packed, vector = self.m.equations(z, lanes, torch.arange(len(lanes)), weights)
        # From the coordinates z of fits to those of the charts.
        slopes = self.charts.select(lanes).slope(values) / self.unknowns.slopes(z)
        matrix = unpack(packed, len(self.unknowns))
        self.matrix[lanes] = matrix * slopes.unsqueeze(1) * slopes.unsqueeze(2)
        self.vector[lanes] = vector * slopes

    def _iterate(self, active: Tensor) -> Tensor:
        """Try a step of some copies; return which go on."""
        lanes, copy = self._lanes_of(active)
        normal = self._normal(lanes, copy, len(active))
        step, fine = self._step(lanes, normal, self.damping[active])
        length = normal.maximum((step.abs() / self.longest[lanes]).amax(dim=1))
        curved = (normal.matrix @ step.unsqueeze(2)).squeeze(2)
        gained = normal.pooled(((normal.vector - 0.5 * curved) * step).sum(dim=1))
        free = self.damping[active] <= _FREE
        done = (gained <= _EXACT) & free & fine & (length < _CUT)
        # The last step is taken without a check, and gains what the model predicts; but not a long
        # one, in a direction that hardly matters here and may matter there.
        short = done & (length <= _TINY)
        last = short[copy]
        self.at[lanes[last]] += step[last]
        self.vector[lanes[last]] -= curved[last]
        self.reached[active[short]] -= gained[short]
        if not bool(done.all()):
            going = active[~done]
            left = ~done[copy]
            compact = torch.full((len(active),), -1)
            compact[~done] = torch.arange(len(going))
            self._try(
                going, lanes[left], compact[copy[left]], step[left], gained[~done], fine[~done]
            )
        return ~done & (self.damping[active] < _MOST) & (self.idle[active] < _IDLE)

    def _normal(self, lanes: Tensor, copy: Tensor, copies: int) -> Normal:
        matrix = self.matrix[lanes]
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        vector = self.vector[lanes]
        return Normal(matrix, diagonal, vector, copy, copies, self.unknowns.shared)

    def _step(self, lanes: Tensor, normal: Normal, damping: Tensor) -> tuple[Tensor, Tensor]:
        """Return the step (l, D) within the bounds, and which copies have one.

        A step of the longest length ends as at a bound: shortened as a whole, it would hardly move
        the others where the objective is flat in one unknown.
        """
        at, low, high = self.at[lanes], self.low[lanes], self.high[lanes]
        slope, shared = normal.vector.clone(), self.unknowns.shared
        # A shared unknown has the gradient of its whole group.
        slope[:, :shared] = normal.pooled(slope[:, :shared])[normal.group]
        outward = ((at <= low) & (slope <= 0.0)) | ((at >= high) & (slope >= 0.0))
        still = self.held[lanes] | outward
        longest = self.longest[lanes]
        low, high = low.maximum(at - longest), high.minimum(at + longest)
        fixed = torch.zeros_like(at)
        for _ in range(len(self.unknowns)):
            # Given the part of the step that is fixed: A s = b - A s_fixed for the others.
            rest = normal.vector - (normal.matrix @ fixed.unsqueeze(2)).squeeze(2)
            step, fine = damped_step(replace(normal, vector=rest), damping, still)
            step = torch.where(still, fixed, step)
            over, under = at + step > high, at + step < low
            crossing = (over | under) & ~still
            if not crossing.any():
                break
            fixed = torch.where(crossing & over, high - at, torch.where(crossing, low - at, fixed))
            still = still | crossing
        return (at + step).maximum(low).minimum(high) - at, fine

    def _try(
        self,
        active: Tensor,
        lanes: Tensor,
        copy: Tensor,
        step: Tensor,
        gained: Tensor,
        fine: Tensor,
    ) -> None:
        """Evaluate steps, and accept them where the objective falls."""
        values = self.charts.select(lanes).value(self.at[lanes] + step)
        reached = self._evaluate(values, lanes, copy, len(active))
        before = self.reached[active]
        slack = _SLACK * self._counted(lanes, copy, len(active))
        better = fine & (reached <= before + slack)
        ratio = (before - reached) / gained.clamp_min(1e-300)
        good = (ratio > 0.5) | (gained < 10.0 * slack)
        one = torch.ones_like(before)
        factor = torch.where(good, 0.1 * one, torch.where(ratio < 0.2, 3.0 * one, one))
        damping = self.damping[active] * torch.where(better, factor, 10.0 * one)
        # After a rejected step damping must have an effect at once, not after eight rejections.
        damping = torch.where(better, damping, damping.clamp_min(_FREE))
        self.damping[active] = damping.clamp_min(_LEAST)
        self.reached[active] = torch.where(better, reached, before)
        gain = before - self.reached[active]
        self.idle[active] = torch.where(gain > _EXACT, 0, self.idle[active] + 1)
        taken = better[copy]
        self.at[lanes[taken]] += step[taken]
        self._renew(lanes[taken], values[taken])

    def _counted(self, lanes: Tensor, copy: Tensor, copies: int) -> Tensor:
        counted = self.m.sums.counted[lanes].sum(dim=1)
        return counted.new_zeros(copies).index_add_(0, copy, counted)
