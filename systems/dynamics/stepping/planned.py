"""Planned steps between samples, by PyTorch: the step policy of `planned.cpp`, explained there.

Each interval between two samples is divided into equal steps. Their number is kept from call to
call and changes only if the local error requires it, so that the discrete solution is a smooth
function of the parameters while a fit iterates.
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
_SAFETY, _FLOOR = 1.15, 1e-2
_MOST_IN_INTERVAL, _HOPELESS = 1 << 16, 4096

# The time derivative of points (1 + D, S, n) at times (n,), under the inputs of a piece of time.
Slope = Callable[[Tensor, Tensor, InputPiece | None], Tensor]


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
    """Integrates from one sample to the next in a planned number of equal steps.

    Args:
        tableau: The explicit method.
        slope: The right-hand side of the states and of their derivatives.
        plan: (n, T), the number of steps in the interval before each sample; updated in place.
        rtol: Relative tolerance of the local errors.
        max_steps: Number of steps after which a lane is given up.
    """

    def __init__(
        self, tableau: Tableau, slope: Slope, plan: Tensor, rtol: float, max_steps: int
    ) -> None:
        self.tableau, self.slope, self.plan = tableau, slope, plan
        self.rtol, self.max_steps = rtol, max_steps
        self.greatest = torch.empty(0)

    def begin(self, at: Position, drive: InputPiece | None) -> None:
        """Check the initial states: no number of steps helps where they are not finite."""
        self.greatest = at.point[0].abs()
        slope = self.slope(at.t, at.point, drive)
        sound = torch.cat([at.point[0], slope[0]]).isfinite().all(dim=0)
        at.status = torch.where(sound, at.status, int(Status.DIVERGED))

    def advance(
        self, at: Position, sample: int, end: Tensor, drive: InputPiece | None, moving: Tensor
    ) -> None:
        """Integrate lanes in `moving` to `end` (n,), the time of a sample, or set their status."""
        count = torch.where(moving, self.plan[:, sample].clamp_min(1), 0)
        before, greatest_before = at.point, self.greatest
        # Repeat the whole interval with more steps until the error of every lane is tolerated.
        # Lanes that are done already repeat their steps with the same count, hence with the same
        # result.
        while True:
            at.point, self.greatest = before, greatest_before
            error = self._march(at, end, drive, count)
            busy = moving & (at.status == Status.CONVERGED)
            settled = torch.where(busy, self._next_count(count, error), count)
            again = busy & ~(error <= 1.0)
            # Given up: the count cannot grow any more, the step limit is reached, or even HOPELESS
            # steps left the finite numbers.
            lost = again & (
                (settled <= count)
                | (at.steps + settled > self.max_steps)
                | (~error.isfinite() & (count >= _HOPELESS))
            )
            reason = torch.where(error.isfinite(), int(Status.TOO_MANY_STEPS), int(Status.DIVERGED))
            at.status = torch.where(lost, reason, at.status)
            count = torch.where(lost, 0, torch.where(again, settled, count))
            if not bool((again & ~lost).any()):
                break
        at.steps = at.steps + count
        kept = moving & (at.status == Status.CONVERGED)
        # The count kept for the next call may be smaller than the one used now.
        self.plan[kept, sample] = settled[kept]
        at.t = torch.where(moving, end, at.t)

    def _march(self, at: Position, end: Tensor, drive: InputPiece | None, count: Tensor) -> Tensor:
        """Take `count` (n,) steps to `end`; return the largest error norm of a step, (n,)."""
        h = torch.where(count > 0, (end - at.t) / count.clamp_min(1), 0.0)
        worst = torch.zeros_like(h)
        slope = self.slope(at.t, at.point, drive)

        def derivative(t: Tensor, point: Tensor) -> Tensor:
            return self.slope(t, point, drive)

        for number in range(int(count.max())):
            going = number < count
            # Lanes with fewer steps wait at the end of the interval, with steps of length zero.
            size = torch.where(going, h, 0.0)
            # t + q h rather than a running sum, whose rounding errors would add up over many steps.
            step = explicit_step(self.tableau, derivative, at.t + number * h, at.point, slope, size)
            error = self._measure(at, step, going)
            worst = torch.where(going, torch.maximum(worst, error), worst)
            at.point = torch.where(going, step.y, at.point)
            slope = torch.where(going, step.f, slope)
        return worst

    def _measure(self, at: Position, step: ExplicitStep, going: Tensor) -> Tensor:
        """Return the largest ratio (n,) of a state's local error to its tolerance.

        The tolerance of state i is rtol (max(|y_0i|, |y_1i|) + FLOOR max_t |y_i|). There is no
        absolute tolerance: the floor takes its place where a state passes through zero.
        """
        # Only the states control the steps: point 0 holds the states, the others the derivatives.
        stages = [stage[0] for stage in step.stages]
        error = (step.h * combine(self.tableau.errors[0], stages)).abs()
        size = torch.maximum(at.point[0].abs(), step.y[0].abs())
        greatest = torch.maximum(self.greatest, size.nan_to_num(0.0))
        ratio = error / (self.rtol * (size + _FLOOR * greatest))
        self.greatest = torch.where(going, greatest, self.greatest)
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
        more = (count * factor.clamp(max=8.0)).ceil().clamp(max=_MOST_IN_INTERVAL).long()
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
