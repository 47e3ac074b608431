"""Systems that jump, and their solutions by SciPy, branch by branch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from warp_phys.systems import Event, Parameter, State, System

RATE = Parameter("rate", "1", range=(0.5, 2.0))


class Relay(System):
    """An oscillator that a relay drives at a threshold, with Coulomb friction."""

    states = (State("x", "m"), State("v", "m/s"))
    parameters = (
        Parameter("friction", "m/s^2", range=(0.01, 0.5)),
        Parameter("edge", "m", range=(0.0, 0.5)),
    )
    default_initial_state = {"x": 1.0, "v": 0.2}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        x, v = y
        drive = torch.where(x > p.edge, 0.5, -0.5)
        return v, -1.3 * x + drive - p.friction * torch.sign(v)

    @staticmethod
    def reference(times: np.ndarray, start: np.ndarray, p: np.ndarray) -> np.ndarray:
        friction, edge = p

        def rhs(sides: np.ndarray, t: float, y: np.ndarray) -> list[float]:
            return [y[1], -1.3 * y[0] + 0.5 * sides[0] - friction * sides[1]]

        def zeros(t: float, y: np.ndarray) -> list[float]:
            return [y[0] - edge, y[1]]

        return by_branches(rhs, zeros, times, start)


class Ball(System):
    """A ball that bounces on the floor, in air."""

    states = (State("height", "m"), State("speed", "m/s"))
    parameters = (
        Parameter("g", "m/s^2", range=(5.0, 15.0)),
        Parameter("restitution", "1", range=(0.5, 0.95)),
    )
    default_initial_state = {"height": 1.0, "speed": 0.0}
    events = (Event(lambda t, y, p: y[0] < 0.0, {"speed": lambda t, y, p: -p.restitution * y[1]}),)

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        return y[1], -p.g - 0.1 * y[1] * y[1].abs()

    @staticmethod
    def reference(times: np.ndarray, start: np.ndarray, p: np.ndarray) -> np.ndarray:
        g, restitution = p

        def rhs(sides: np.ndarray, t: float, y: np.ndarray) -> list[float]:
            return [y[1], -g - 0.1 * y[1] * abs(y[1])]

        return by_branches(
            rhs,
            lambda t, y: [y[0]],
            times,
            start,
            lambda y: np.array([0.0, -restitution * y[1]]),
        )


def by_branches(
    rhs: Any, zeros: Any, times: np.ndarray, start: np.ndarray, reset: Any = None
) -> np.ndarray:
    """Integrate from zero to zero; `rhs` takes the signs of the zero functions in between.

    With `reset` the state is set at a zero from above, and the signs stay.
    """
    t, y, out = times[0], np.array(start, dtype=float), np.full((len(times), len(start)), np.nan)
    sides = np.sign(zeros(t, y))
    while True:
        events = []
        for place, side in enumerate(sides):

            def event(t: float, y: np.ndarray, place: int = place) -> float:
                return float(zeros(t, y)[place])

            event.terminal, event.direction = True, -side  # type: ignore[attr-defined]
            events.append(event)
        ahead = np.flatnonzero(times >= t)
        found = solve_ivp(
            lambda t, y: rhs(sides, t, y),
            (t, times[-1]),
            y,
            "DOP853",
            t_eval=times[ahead],
            events=events,
            rtol=1e-12,
            atol=1e-14,
            max_step=0.1,  # for the dense output, which is less accurate than the steps
        )
        out[ahead[: found.y.shape[1]]] = found.y.T
        if found.status != 1:
            return out
        which = next(place for place, when in enumerate(found.t_events) if len(when))
        t, y = found.t_events[which][0], found.y_events[which][0]
        if reset is None:
            sides[which] *= -1.0
        else:
            y = reset(y)


def slopes_by_differences(
    reference: Any, times: np.ndarray, start: np.ndarray, p: np.ndarray
) -> np.ndarray:
    """Return derivatives of the last sample by parameters and initial states, (S, P + S)."""
    at, columns = np.concatenate([p, start]), []
    for place in range(len(at)):
        values = []
        for move in (1.0, -1.0, 2.0, -2.0):
            moved = at.copy()
            moved[place] += 1e-4 * move
            values.append(reference(times, moved[len(p) :], moved[: len(p)])[-1])
        columns.append((8.0 * (values[0] - values[1]) - (values[2] - values[3])) / 12e-4)
    return np.array(columns).T
