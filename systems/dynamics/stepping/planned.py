"""Planned steps from sample to sample by PyTorch: the policy of `planned.cpp`, which says why.

Each interval between two samples is passed in equal steps, whose number is kept from call to call
and changes only where the error asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.systems.dynamics.problem import Status
from warp_phys.systems.dynamics.stepping.runge_kutta import ExplicitStep, combine, explicit_step
from warp_phys.systems.dynamics.stepping.tableaus import Tableau
from warp_phys.systems.forcing.schedule import Drive

# The constants of `planned.cpp`, which says what they mean.
_SAFETY, _FLOOR = 1.15, 1e-2
_MOST_IN_INTERVAL, _HOPELESS = 1 << 16, 4096

# The time derivative of points (1 + D, S, n) at times (n,), under the inputs of a piece of time.
Slope = Callable[[Tensor, Tensor, Drive | None], Tensor]


@dataclass
class Position:
    """Where n lanes are.

    Attributes:
        t: (n,).
        point: (1 + D, S, n), the states, then their derivatives along each direction.
        status: (n,), integers as in `Status`.
        steps: (n,), how many were taken.
    """

    t: Tensor
    point: Tensor
    status: Tensor
    steps: Tensor


class Planned:
    """Passes the intervals between samples.

    Args:
        tableau: The method.
        slope: What is integrated.
        plan: (n, T) steps in the interval before each sample; brought up to date.
        rtol: Relative tolerance of the local errors.
        max_steps: Steps after which a lane is given up.
    """

    def __init__(
        self, tableau: Tableau, slope: Slope, plan: Tensor, rtol: float, max_steps: int
    ) -> None:
        self.tableau, self.slope, self.plan = tableau, slope, plan
        self.rtol, self.max_steps = rtol, max_steps
        self.greatest = torch.empty(0)

    def begin(self, at: Position, drive: Drive | None) -> None:
        """Look at the initial states: from what is not finite no number of steps leads on."""
        self.greatest = at.point[0].abs()
        slope = self.slope(at.t, at.point, drive)
        sound = torch.cat([at.point[0], slope[0]]).isfinite().all(dim=0)
        at.status = torch.where(sound, at.status, int(Status.DIVERGED))

    def advance(
        self, at: Position, sample: int, end: Tensor, drive: Drive | None, moving: Tensor
    ) -> None:
        """Bring lanes to `end` (n,), the time of a sample, or say by their status why not."""
        count = torch.where(moving, self.plan[:, sample].clamp_min(1), 0)
        before, greatest_before = at.point, self.greatest
        while True:
            at.point, self.greatest = before, greatest_before
            error = self._march(at, end, drive, count)
            busy = moving & (at.status == Status.CONVERGED)
            settled = torch.where(busy, self._next_count(count, error), count)
            again = busy & ~(error <= 1.0)
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
        self.plan[kept, sample] = settled[kept]
        at.t = torch.where(moving, end, at.t)

    def _march(self, at: Position, end: Tensor, drive: Drive | None, count: Tensor) -> Tensor:
        """Take `count` steps to `end`; return the largest error of a step."""
        h = torch.where(count > 0, (end - at.t) / count.clamp_min(1), 0.0)
        worst = torch.zeros_like(h)
        slope = self.slope(at.t, at.point, drive)

        def derivative(t: Tensor, point: Tensor) -> Tensor:
            return self.slope(t, point, drive)

        for number in range(int(count.max())):
            going = number < count
            size = torch.where(going, h, 0.0)
            step = explicit_step(self.tableau, derivative, at.t + number * h, at.point, slope, size)
            error = self._measure(at, step, going)
            worst = torch.where(going, torch.maximum(worst, error), worst)
            at.point = torch.where(going, step.y, at.point)
            slope = torch.where(going, step.f, slope)
        return worst

    def _measure(self, at: Position, step: ExplicitStep, going: Tensor) -> Tensor:
        """Return the largest local error of a state over what is tolerated, (n,)."""
        stages = [stage[0] for stage in step.stages]
        error = (step.h * combine(self.tableau.errors[0], stages)).abs()
        size = torch.maximum(at.point[0].abs(), step.y[0].abs())
        greatest = torch.maximum(self.greatest, size.nan_to_num(0.0))
        ratio = error / (self.rtol * (size + _FLOOR * greatest))
        self.greatest = torch.where(going, greatest, self.greatest)
        # Zero over zero is no error; what is not finite is an infinite one.
        ratio = torch.where(error == 0.0, 0.0, ratio)
        sound = ratio.isfinite() & step.y[0].isfinite()
        return torch.where(sound, ratio, torch.inf).amax(dim=0)

    def _next_count(self, count: Tensor, error: Tensor) -> Tensor:
        """Return how many steps an interval should have had, see `next_count` in `planned.cpp`."""
        order = self.tableau.error_order
        slack = 2.0 ** -(order + 3)
        factor = torch.where(
            error.isfinite(), _SAFETY * error.clamp_min(1.0) ** (1.0 / (order + 1)), 4.0
        )
        more = (count * factor.clamp(max=8.0)).ceil().clamp(max=_MOST_IN_INTERVAL).long()
        fewer = torch.where((error <= slack) & (count > 1), count // 2, count)
        return torch.where(error > 1.0, more, fewer)


def drive_between(t: Tensor, end: Tensor, before: Tensor, after: Tensor, held: Tensor) -> Drive:
    """Return the inputs between two samples: linear, or constant where they are held.

    Args:
        t: (n,), time of the sample before.
        end: (n,), time of the sample after; where it is the same, the inputs are constant, too.
        before: (I, n), the inputs at t.
        after: (I, n), the inputs at the end.
        held: (I, 1).
    """
    length = end - t
    constant = held | (length <= 0.0)
    slope = torch.where(constant, 0.0, (after - before) / torch.where(length > 0.0, length, 1.0))
    return Drive(t, before, slope)
