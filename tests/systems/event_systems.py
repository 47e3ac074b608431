"""Systems with events, each with the same by SciPy: stopped at events and started again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from warp_phys.systems import Event, Parameter, State, System

Values = np.ndarray


class Ball(System):
    """A ball that bounces; each bounce takes a share of its speed."""

    time_unit = "s"
    states = (State("height", "m"), State("speed", "m/s"))
    parameters = (
        Parameter("g", "m/s^2", support="positive", range=(5.0, 15.0)),
        Parameter("restitution", "1", support=(0.0, 1.0), range=(0.5, 0.95)),
    )
    default_initial_state = {"height": 2.0, "speed": 0.0}
    events = (
        Event(
            lambda t, y, p: y[0] < 0.0,
            {"speed": lambda t, y, p: -p.restitution * y[1]},
            "the ball bounces",
        ),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any, Any]:
        return y[1], -p.g


class Neuron(System):
    """A leaky integrate-and-fire neuron under an oscillating current, and its adaptation."""

    time_unit = "ms"
    states = (State("voltage", "mV"), State("adaptation", "1"))
    parameters = (
        Parameter("leak", "1/ms", support="positive", range=(0.05, 0.2)),
        Parameter("threshold", "mV", range=(8.0, 14.0)),
        Parameter("reset", "mV", range=(-2.0, 3.0)),
        Parameter("increment", "1", range=(0.0, 0.5)),
    )
    default_initial_state = {"voltage": 0.0, "adaptation": 0.0}
    events = (
        Event(
            lambda t, y, p: y[0] >= p.threshold,
            {"voltage": lambda t, y, p: p.reset, "adaptation": lambda t, y, p: y[1] + p.increment},
        ),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any, Any]:
        current = 1.6 + 0.5 * torch.sin(0.3 * torch.as_tensor(t))
        return current - p.leak * y[0] - 0.2 * y[1], -0.05 * y[1]


class Thermostat(System):
    """A heated room: the heater goes on below one temperature and off above another."""

    time_unit = "h"
    states = (State("temperature", "K"), State("heater", "1"))
    parameters = (
        Parameter("loss", "1/h", support="positive", range=(0.1, 0.6)),
        Parameter("power", "K/h", support="positive", range=(5.0, 15.0)),
        Parameter("low", "K", range=(17.0, 19.5)),
        Parameter("high", "K", range=(20.0, 22.0)),
    )
    default_initial_state = {"temperature": 18.5, "heater": 1.0}
    events = (
        Event(lambda t, y, p: y[0] < p.low, {"heater": 1.0}),
        Event(lambda t, y, p: y[0] > p.high, {"heater": 0.0}),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any, Any]:
        temperature, heater = y
        return p.power * heater - p.loss * (temperature - 5.0), 0.0


class Harvest(System):
    """A growing stock, of which a share is taken at each size that is large, once it is season."""

    time_unit = "year"
    states = (State("stock", "t"), State("taken", "t"))
    parameters = (
        Parameter("rate", "1/year", support="positive", range=(0.5, 1.5)),
        Parameter("size", "t", support="positive", range=(4.0, 7.0)),
        Parameter("share", "1", support=(0.0, 1.0), range=(0.3, 0.7)),
        Parameter("opening", "year", range=(1.0, 6.0)),
    )
    default_initial_state = {"stock": 1.0, "taken": 0.0}
    events = (
        Event(
            lambda t, y, p: (y[0] > p.size) & (t > p.opening),
            {
                "stock": lambda t, y, p: (1.0 - p.share) * y[0],
                "taken": lambda t, y, p: y[1] + p.share * y[0],
            },
        ),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any, Any]:
        return p.rate * y[0] * (1.0 - y[0] / 10.0), 0.0


class Buckets(System):
    """A bucket that tips into a second one when it is full, which may then tip at once, too."""

    time_unit = "s"
    states = (State("first", "l"), State("second", "l"))
    parameters = (
        Parameter("inflow", "l/s", support="positive", range=(0.5, 2.0)),
        Parameter("full", "l", support="positive", range=(1.0, 2.0)),
        Parameter("large", "l", support="positive", range=(3.0, 5.0)),
        Parameter("drip", "1/s", support="positive", range=(0.05, 0.2)),
    )
    default_initial_state = {"first": 0.0, "second": 0.0}
    events = (
        Event(
            lambda t, y, p: y[0] > p.full,
            {"first": 0.0, "second": lambda t, y, p: y[1] + 0.9 * y[0]},
        ),
        Event(lambda t, y, p: y[1] > p.large, {"second": lambda t, y, p: 0.1 * y[1]}),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any, Any]:
        return p.inflow - 0.1 * y[0], -p.drip * y[1]


@dataclass(frozen=True)
class EventCase:
    """A system with values of its parameters, and the same for SciPy.

    Attributes:
        system: The system.
        values: Its parameters.
        times: Sample times, the first one that of the initial state.
        rhs: The right-hand side (t, y, p).
        events: Functions (t, y, p) that pass through zero upwards where an event happens, each with
            the new state (t, y, p).
    """

    system: System
    values: tuple[float, ...]
    times: np.ndarray
    rhs: Callable[[float, Values, Any], Any]
    events: tuple[tuple[Callable[[float, Values, Any], float], Callable[..., Any]], ...]

    @property
    def name(self) -> str:
        """Name of the system."""
        return self.system.name

    @property
    def start(self) -> np.ndarray:
        """The initial state."""
        return np.array(list(self.system.default_initial_state.values()), dtype=float)

    def states(self, values: Any, times: np.ndarray | None = None) -> np.ndarray:
        """Return the states (T, S) by SciPy; a sample at an event shows the state after it."""
        times = self.times if times is None else times
        t, y, out = float(times[0]), self.start, np.full((len(times), len(self.start)), np.nan)
        stops = [self._stop(number, values) for number in range(len(self.events))]
        while True:
            part = solve_ivp(
                self.rhs,
                (t, times[-1]),
                y,
                "DOP853",
                args=(values,),
                events=stops,
                dense_output=True,
                rtol=1e-12,
                atol=1e-12,
                max_step=0.02 * (times[-1] - times[0]),
            )
            inside = (times >= t) & (times <= part.t[-1])
            if inside.any():
                out[inside] = part.sol(times[inside]).T
            if part.status == 0:
                return out
            t, y = part.t[-1], part.y[:, -1]
            due = next(number for number, found in enumerate(part.t_events) if len(found))
            while due is not None:
                before = y
                y = np.asarray(self.events[due][1](t, y, values), dtype=float)
                due = next(
                    (k for k in range(len(stops)) if self._risen(k, t, before, y, values)), None
                )
            out[times == t] = y

    def _stop(self, number: int, values: Any) -> Any:
        def crossing(t: float, y: np.ndarray, _: Any) -> float:
            return self.events[number][0](t, y, values)

        crossing.terminal, crossing.direction = True, 1.0  # type: ignore[attr-defined]
        return crossing

    def _risen(self, number: int, t: float, before: Values, after: Values, values: Any) -> bool:
        function = self.events[number][0]
        return function(t, before, values) < -1e-9 and function(t, after, values) > 1e-9


CASES = (
    EventCase(
        Ball(),
        (9.81, 0.8),
        np.linspace(0.0, 3.0, 16),
        lambda t, y, p: (y[1], -p[0]),
        ((lambda t, y, p: -y[0], lambda t, y, p: (y[0], -p[1] * y[1])),),
    ),
    EventCase(
        Neuron(),
        (0.1, 10.0, 1.0, 0.3),
        np.linspace(0.0, 80.0, 21),
        lambda t, y, p: (
            1.6 + 0.5 * np.sin(0.3 * t) - p[0] * y[0] - 0.2 * y[1],
            -0.05 * y[1],
        ),
        ((lambda t, y, p: y[0] - p[1], lambda t, y, p: (p[2], y[1] + p[3])),),
    ),
    EventCase(
        Thermostat(),
        (0.3, 9.0, 18.0, 21.0),
        np.linspace(0.0, 12.0, 19),
        lambda t, y, p: (p[1] * y[1] - p[0] * (y[0] - 5.0), 0.0),
        (
            (lambda t, y, p: p[2] - y[0], lambda t, y, p: (y[0], 1.0)),
            (lambda t, y, p: y[0] - p[3], lambda t, y, p: (y[0], 0.0)),
        ),
    ),
    EventCase(
        Harvest(),
        (1.0, 5.0, 0.5, 4.3),
        np.linspace(0.0, 12.0, 19),
        lambda t, y, p: (p[0] * y[0] * (1.0 - y[0] / 10.0), 0.0),
        (
            (
                lambda t, y, p: min(y[0] - p[1], t - p[3]),
                lambda t, y, p: ((1.0 - p[2]) * y[0], y[1] + p[2] * y[0]),
            ),
        ),
    ),
    EventCase(
        Buckets(),
        (1.0, 1.5, 4.0, 0.05),
        np.linspace(0.0, 14.0, 22),
        lambda t, y, p: (p[0] - 0.1 * y[0], -p[3] * y[1]),
        (
            (lambda t, y, p: y[0] - p[1], lambda t, y, p: (0.0, y[1] + 0.9 * y[0])),
            (lambda t, y, p: y[1] - p[2], lambda t, y, p: (y[0], 0.1 * y[1])),
        ),
    ),
)

# The first one in every run, the others in the longer checks.
MARKED_CASES = (CASES[0], *(pytest.param(case, marks=pytest.mark.long) for case in CASES[1:]))
