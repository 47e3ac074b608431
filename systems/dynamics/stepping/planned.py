"""Planned steps between samples, by PyTorch: the step policy of `planned.cpp`, explained there.

Each interval between two samples is divided into steps, equal ones or, where these would be many,
graded ones. They are kept from call to call and change only if the local error requires it, so that
the discrete solution is a smooth function of the parameters while a fit iterates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.systems.dynamics.problem import Status
from warp_phys.systems.dynamics.stepping.runge_kutta import ExplicitStep, combine, explicit_step
from warp_phys.systems.dynamics.stepping.tableaus import Tableau
from warp_phys.systems.forcing.schedule import InputPiece

# The constants of `planned.cpp`, explained there.
_SAFETY, _MOST_EQUAL = 1.15, 64
_GRADED_SAFETY, _GRADED_SHARE = 0.8, 0.7
_UNKNOWN_SIZE, _KNOWN_SIZE = 1e-4, 1e-12
_FLOOR, _LEAST_FLOOR = 1e-2, 1e-12

# The time derivative of points (1 + D, S, n) at times (n,), under the inputs of a piece of time.
Slope = Callable[[Tensor, Tensor, InputPiece | None], Tensor]


@dataclass
class Plan:
    """What is kept of L lanes from call to call.

    Attributes:
        counts: (L, T), the number of steps in the interval before each sample.
        ends: The ends of graded steps by lane and sample.
        sizes: (L, S), largest values of the states in the last call, negative before the first.
    """

    counts: Tensor
    ends: dict[tuple[int, int], Tensor]
    sizes: Tensor

    @classmethod
    def empty(cls, lanes: int, samples: int, states: int) -> Plan:
        """Return a plan of one step in every interval."""
        sizes = torch.full((lanes, states), -1.0, dtype=torch.float64)
        return cls(torch.ones(lanes, samples, dtype=torch.int64), {}, sizes)


@dataclass(frozen=True)
class Tolerance:
    """The tolerances of planned steps.

    Attributes:
        rtol: Relative tolerance of the local errors.
        range: Largest ratio of a state's largest value to the present one that counts.
        max_steps: Number of steps after which a lane is given up.
    """

    rtol: float
    range: float
    max_steps: int


@dataclass
class Position:
    """The current point of n trajectories ("lanes").

    Attributes:
        t: (n,), time.
        point: (1 + D, S, n), the states, then their derivatives along each of D directions.
        status: (n,), integers as in `Status`.
        steps: (n,), the number of steps taken so far.
    """

    t: Tensor
    point: Tensor
    status: Tensor
    steps: Tensor


class Planned:
    """Integrates from one sample to the next in planned steps.

    Args:
        tableau: The explicit method.
        slope: The right-hand side of the states and of their derivatives.
        plan: Steps of earlier calls, updated in place.
        lanes: (n,), which lanes of the plan are integrated.
        tolerance: The tolerances.
    """

    def __init__(
        self, tableau: Tableau, slope: Slope, plan: Plan, lanes: Tensor, tolerance: Tolerance
    ) -> None:
        self.tableau, self.slope, self.plan, self.lanes = tableau, slope, plan, lanes
        self.tolerance = tolerance
        self.greatest = self.expected = self.unknown = self.pace = torch.empty(0)

    def begin(self, at: Position, drive: InputPiece | None) -> None:
        """Check the initial states: no number of steps helps where they are not finite."""
        self.greatest = at.point[0].abs()
        sizes = self.plan.sizes[self.lanes].T
        self.expected = sizes.clamp_min(0.0)
        self.unknown = torch.where(sizes[0] >= 0.0, _KNOWN_SIZE, _UNKNOWN_SIZE)
        self.pace = torch.zeros_like(at.t)
        slope = self.slope(at.t, at.point, drive)
        sound = torch.cat([at.point[0], slope[0]]).isfinite().all(dim=0)
        at.status = torch.where(sound, at.status, int(Status.DIVERGED))

    def finish(self, at: Position) -> None:
        """Keep the sizes of the states for the next call."""
        well = at.status == Status.CONVERGED
        self.plan.sizes[self.lanes[well]] = self.greatest.T[well]

    def advance(
        self, at: Position, sample: int, end: Tensor, drive: InputPiece | None, moving: Tensor
    ) -> None:
        """Integrate lanes in `moving` to `end` (n,), the time of a sample, or set their status."""
        count = torch.where(moving, self.plan.counts[self.lanes, sample], 0)
        ends = {
            lane: kept
            for lane, row in enumerate(self.lanes.tolist())
            if count[lane] > 0 and (kept := self.plan.ends.get((row, sample))) is not None
        }
        before, greatest_before = at.point, self.greatest
        adapt = torch.zeros_like(moving)
        # Repeat the whole interval with more steps until the error of every lane is tolerated, or
        # is left to graded steps. Lanes that are done already repeat their steps with the same
        # count, hence with the same result.
        while True:
            at.point, self.greatest = before, greatest_before
            error = self._march(at, end, drive, count, ends)
            busy = moving & (at.status == Status.CONVERGED) & ~adapt
            settled = torch.where(busy, self._next_count(count, error), count)
            again = busy & ~(error <= 1.0)
            graded = torch.zeros_like(again)
            graded[list(ends)] = True
            adapt |= again & (graded | (settled > _MOST_EQUAL))
            count = torch.where(adapt, 0, torch.where(again, settled, count))
            ends = {lane: kept for lane, kept in ends.items() if not adapt[lane]}
            if not bool((again & ~adapt).any()):
                break
        if bool(adapt.any()):
            self._grade(at, sample, end, drive, adapt, (before, greatest_before), count)
        at.steps = at.steps + count
        kept = moving & (at.status == Status.CONVERGED) & ~adapt
        self._keep(sample, kept, settled, ends)
        at.t = torch.where(moving, end, at.t)

    def _keep(self, sample: int, kept: Tensor, settled: Tensor, ends: dict[int, Tensor]) -> None:
        """Keep the steps of an interval for the next call; they may be fewer than those used."""
        for lane in kept.nonzero()[:, 0].tolist():
            row = int(self.lanes[lane])
            if lane not in ends:
                self.plan.counts[row, sample] = settled[lane]
            elif settled[lane] < len(ends[lane]):
                # Graded steps that have become much too small are made anew in the next call.
                del self.plan.ends[row, sample]
                self.plan.counts[row, sample] = 1

    def _march(
        self,
        at: Position,
        end: Tensor,
        drive: InputPiece | None,
        count: Tensor,
        ends: dict[int, Tensor],
    ) -> Tensor:
        """Take `count` (n,) steps to `end`; return the largest error norm of a step, (n,)."""
        h = torch.where(count > 0, (end - at.t) / count.clamp_min(1), 0.0)
        worst = torch.zeros_like(h)
        slope = self.slope(at.t, at.point, drive)
        for number in range(int(count.max())):
            going = number < count
            # Lanes with fewer steps wait at the end of the interval, with steps of length zero.
            size = torch.where(going, h, 0.0)
            # t + q h rather than a running sum, whose rounding errors would add up over many steps.
            start = at.t + number * h
            for lane, stops in ends.items():
                if number < len(stops):
                    start[lane] = stops[number - 1] if number else at.t[lane]
                    size[lane] = stops[number] - start[lane]
            step = self._step(at, start, slope, size, drive)
            error = self._measure(at, step, going)
            worst = torch.where(going, torch.maximum(worst, error), worst)
            at.point = torch.where(going, step.y, at.point)
            slope = torch.where(going, step.f, slope)
        return worst

    def _step(
        self, at: Position, t: Tensor, slope: Tensor, size: Tensor, drive: InputPiece | None
    ) -> ExplicitStep:
        def derivative(t: Tensor, point: Tensor) -> Tensor:
            return self.slope(t, point, drive)

        return explicit_step(self.tableau, derivative, t, at.point, slope, size)

    def _grade(
        self,
        at: Position,
        sample: int,
        end: Tensor,
        drive: InputPiece | None,
        adapt: Tensor,
        before: tuple[Tensor, Tensor],
        count: Tensor,
    ) -> None:
        """Integrate lanes in `adapt` in steps that follow the error, and keep these steps."""
        at.point = torch.where(adapt, before[0], at.point)
        self.greatest = torch.where(adapt, before[1], self.greatest)
        made: list[list[float]] = [[] for _ in adapt]
        t, going, rejected = at.t, adapt, torch.zeros_like(adapt)
        h = torch.where(self.pace > 0.0, self.pace.minimum(end - t), 0.1 * (end - t))
        slope = self.slope(at.t, at.point, drive)
        while bool(going.any()):
            last = h >= end - t
            size = torch.where(going, torch.where(last, end - t, h), 0.0)
            greatest = self.greatest
            step = self._step(at, t, slope, size, drive)
            error = torch.where(going, self._measure(at, step, going), 0.0)
            accepted = going & (error <= _GRADED_SHARE)
            self.greatest = torch.where(accepted, self.greatest, greatest)
            at.point = torch.where(accepted, step.y, at.point)
            slope = torch.where(accepted, step.f, slope)
            t = torch.where(accepted, torch.where(last, end, t + size), t)
            factor = _GRADED_SAFETY * error ** (-1.0 / (self.tableau.error_order + 1))
            factor = factor.minimum(torch.where(rejected, 1.0, 5.0)).clamp_min(0.2)
            wanted = size * factor
            proposed = torch.where(accepted & last, wanted.maximum(h), wanted)
            h = torch.where(going, proposed, h)
            rejected = going & ~accepted
            for lane in accepted.nonzero()[:, 0].tolist():
                made[lane].append(float(t[lane]))
            going = self._proceeds(at, going, rejected, t, end, h, made)
        self.pace = torch.where(adapt, h, self.pace)
        for lane in adapt.nonzero()[:, 0].tolist():
            count[lane] = len(made[lane])
            if at.status[lane] == Status.CONVERGED:
                row = int(self.lanes[lane])
                self.plan.ends[row, sample] = torch.tensor(made[lane], dtype=torch.float64)
                self.plan.counts[row, sample] = len(made[lane])

    def _proceeds(
        self,
        at: Position,
        going: Tensor,
        rejected: Tensor,
        t: Tensor,
        end: Tensor,
        h: Tensor,
        made: list[list[float]],
    ) -> Tensor:
        """Return which lanes take another graded step; give up where steps vanish or are many."""
        ahead = going & (t < end)
        least = 10.0 * torch.finfo(t.dtype).eps * (t.abs() + 1e-6 * (end - t))
        vanished = ahead & rejected & (h < least)
        taken = at.steps + torch.tensor([len(steps) for steps in made])
        many = ahead & ~vanished & (taken >= self.tolerance.max_steps)
        at.status = torch.where(vanished, int(Status.DIVERGED), at.status)
        at.status = torch.where(many, int(Status.TOO_MANY_STEPS), at.status)
        return ahead & ~vanished & ~many

    def _measure(self, at: Position, step: ExplicitStep, going: Tensor) -> Tensor:
        """Return the largest ratio (n,) of a state's local error to its tolerance.

        The tolerance of state i is rtol (max(|y_0i|, |y_1i|) + FLOOR max_t |y_i|). There is no
        absolute tolerance: the floor takes its place where a state passes through zero, and a share
        of the largest state where nothing is known of its size yet: this step counts, since a dose
        or an input may fill a system that was empty.
        """
        # Only the states control the steps: point 0 holds the states, the others the derivatives.
        stages = [stage[0] for stage in step.stages]
        error = (step.h * combine(self.tableau.errors[0], stages)).abs()
        size = torch.maximum(at.point[0].abs(), step.y[0].abs())
        greatest = torch.maximum(self.greatest, size.nan_to_num(0.0))
        self.greatest = torch.where(going, greatest, self.greatest)
        top = self.unknown * self.greatest.amax(dim=0)
        scale = torch.maximum(self.greatest, self.expected).maximum(top)
        share = _FLOOR * scale
        if self.tolerance.range < torch.inf:
            share = share.minimum(_FLOOR * self.tolerance.range * size) + _LEAST_FLOOR * scale
        ratio = error / (self.tolerance.rtol * (size + share))
        # A zero error over a zero size is no error; a ratio that is not finite is an infinite
        # error.
        ratio = torch.where(error == 0.0, 0.0, ratio)
        sound = ratio.isfinite() & step.y[0].isfinite()
        return torch.where(sound, ratio, torch.inf).amax(dim=0)

    def _next_count(self, count: Tensor, error: Tensor) -> Tensor:
        """Return how many steps the interval should have had, see `next_count` in `planned.cpp`."""
        order = self.tableau.error_order
        slack = 2.0 ** -(order + 3)
        factor = torch.where(
            error.isfinite(), _SAFETY * error.clamp_min(1.0) ** (1.0 / (order + 1)), 4.0
        )
        more = (count * factor.clamp(max=8.0)).ceil().long()
        # With half as many steps the error would grow by 2^(q + 1): at the threshold 2^-(q + 3) it
        # would still be at most a quarter of the tolerance. The gap between the two limits keeps
        # the count from changing back and forth during a fit.
        fewer = torch.where((error <= slack) & (count > 1), count // 2, count)
        return torch.where(error > 1.0, more, fewer)


def drive_between(
    t: Tensor, end: Tensor, before: Tensor, after: Tensor, held: Tensor
) -> InputPiece:
    """Return the inputs between two samples: linear, or constant if they are held.

    Args:
        t: (n,), time of the earlier sample.
        end: (n,), time of the later sample; if it equals t, the inputs are constant.
        before: (I, n), the inputs at t.
        after: (I, n), the inputs at the end.
        held: (I, 1), whether an input keeps its value until the next sample.
    """
    length = end - t
    constant = held | (length <= 0.0)
    slope = torch.where(constant, 0.0, (after - before) / torch.where(length > 0.0, length, 1.0))
    return InputPiece(t, before, slope)
