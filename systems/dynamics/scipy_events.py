"""Events along a trajectory of SciPy's integrators: when they happen, and the state after them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.forcing.schedule import InputPiece

# Points of a step at which the conditions are looked at.
_PARTS = 8
# What holds this share of the whole time earlier or later tells how a condition that stands on its
# boundary is about to change.
_BOUNDARY = 1e-12
# See `events.cpp`.
_MOST_AT_ONCE, _NO_TIME = 100, 1e-11


class EndlessEventsError(Exception):
    """Events follow each other without end."""


class Happenings:
    """The conditions of a system's events along one trajectory.

    Args:
        problem: The problem of one trajectory, in float64.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem, self.system = problem, problem.system
        self.held = np.zeros(len(self.system.events), dtype=bool)
        self.last = np.full(len(self.held), -np.inf)
        span = float(problem.end - problem.start)
        self.brief, self.moment = _NO_TIME * span, _BOUNDARY * span

    def begin(self, t: float, y: np.ndarray, drive: InputPiece | None) -> np.ndarray:
        """Return the state after the events at the initial time."""
        if not self.system.events:
            return y
        # A condition that holds has not become true, unless it did so in this moment.
        self.held = self._hold_around(t, y, -self.moment, drive)
        return self.settle(t, y, drive)

    def search(
        self,
        start: float,
        stop: float,
        dense: Callable[[np.ndarray], np.ndarray],
        drive: InputPiece | None,
    ) -> float | None:
        """Return the first time in a step at which a condition becomes true, None if none does."""
        if not self.system.events:
            return None
        points = np.linspace(start, stop, _PARTS + 1)
        every = self._hold(points[1:], dense(points[1:]), drive)
        for place, now in enumerate(every.T):
            if (now & ~self.held).any():
                return self._bisect(points[place], points[place + 1], dense, drive)
            self.held = now
        return None

    def settle(self, t: float, y: np.ndarray, drive: InputPiece | None) -> np.ndarray:
        """Return the state after all events that are due at a point.

        Raises:
            EndlessEventsError: They trigger each other, or one happens again in no time.
        """
        if not self.system.events:
            return y
        for _ in range(_MOST_AT_ONCE):
            now = self._hold(np.array([t]), y[:, None], drive)[:, 0]
            due = np.flatnonzero(now & ~self.held)
            self.held = now
            if not due.size:
                # On its boundary a condition that is about to become false is false.
                self.held = self._hold_around(t, y, self.moment, drive)
                return y
            if (t - self.last[due] <= max(self.brief, 100.0 * float(np.spacing(abs(t))))).any():
                raise EndlessEventsError
            self.last[due] = t
            for number in due:
                y = self._new_state(int(number), t, y, drive)
        raise EndlessEventsError

    def _bisect(
        self,
        low: float,
        high: float,
        dense: Callable[[np.ndarray], np.ndarray],
        drive: InputPiece | None,
    ) -> float:
        """Return where a condition becomes true, at the end where it is."""
        while high - low > 2.0 * np.spacing(abs(high)):
            middle = low + 0.5 * (high - low)
            at = np.array([middle])
            if (self._hold(at, dense(at), drive)[:, 0] & ~self.held).any():
                high = middle
            else:
                low = middle
        return high

    def _hold_around(
        self, t: float, y: np.ndarray, later: float, drive: InputPiece | None
    ) -> np.ndarray:
        """Return whether each condition holds, now and a moment later or earlier, (E,)."""
        time = torch.tensor([t], dtype=torch.float64)
        f = self.problem.derivative(time, torch.as_tensor(y)[:, None], drive)[:, 0].numpy()
        points = np.stack([y, y + later * f], axis=1)
        here, then = self._hold(np.array([t, t + later]), points, drive).T
        return here & then

    def _hold(self, t: np.ndarray, y: np.ndarray, drive: InputPiece | None) -> np.ndarray:
        """Return whether each condition holds at n points, (E, n)."""
        times, states = torch.as_tensor(t), torch.as_tensor(np.ascontiguousarray(y))
        p = self.problem.parameters.expand(-1, len(times))
        u = None if drive is None else drive.at(times)
        count = range(len(self.system.events))
        found = [self.system.condition_at(number, times, states, p, u) for number in count]
        return torch.stack(found).numpy()

    def _new_state(
        self, number: int, t: float, y: np.ndarray, drive: InputPiece | None
    ) -> np.ndarray:
        time = torch.tensor([t], dtype=torch.float64)
        u = None if drive is None else drive.at(time)
        states = torch.as_tensor(y)[:, None]
        after = self.system.new_state_at(number, time, states, self.problem.parameters, u)
        return after[:, 0].numpy()
