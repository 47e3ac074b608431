"""Right-hand sides that jump in time or state: events are stepped onto, derivatives jump there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.optimize import minimize
from torch import Tensor

from tests.warp_phys.likelihood.engines.predicted_records import predicted
from warp_phys import fit
from warp_phys.systems import Parameter, State, Status, System
from warp_phys.systems.compiling.compiler import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")

RATE = Parameter("rate", "1/day", range=(0.05, 1.0))


class Treated(System):
    """Growth that turns into decay at an unknown time."""

    time_unit = "day"
    states = (State("x", "1", support="positive"),)
    parameters = (
        RATE,
        Parameter("after", "1/day", range=(-1.0, 0.5)),
        Parameter("when", "day", range=(2.0, 18.0)),
    )
    default_initial_state = {"x": 1.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        return (torch.where(torch.as_tensor(t) < p.when, p.rate, p.after) * y[0],)


class Pulse(System):
    """An infusion of unknown start and duration, shorter than the time between samples."""

    states = (State("x", "mg"),)
    parameters = (
        RATE,
        Parameter("start", "h", range=(0.0, 9.0)),
        Parameter("duration", "h", support="positive", range=(0.001, 0.5)),
    )
    default_initial_state = {"x": 0.1}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        t = torch.as_tensor(t)
        on = (t >= p.start) & (t < p.start + p.duration)
        return (torch.where(on, 10.0, 0.0) - p.rate * y[0],)


class Overflow(System):
    """A tank that is filled, and from a level on also drained: a threshold of the state."""

    states = (State("level", "m"), State("lost", "m"))
    parameters = (
        Parameter("inflow", "m/h", range=(0.1, 2.0)),
        Parameter("edge", "m", range=(0.5, 3.0)),
        Parameter("drain", "1/h", range=(0.1, 2.0)),
    )
    default_initial_state = {"level": 0.0, "lost": 0.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        # The leak opens with a jump.
        leak = torch.where(y[0] > p.edge, 0.5 * p.inflow + p.drain * (y[0] - p.edge), 0.0)
        return p.inflow - leak, leak


class Burst(Treated):
    """The same with a fast part beside it, which only implicit steps can follow."""

    states = (State("x", "1"), State("fast", "1"))
    default_initial_state = {"x": 1.0, "fast": 0.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        rate = torch.where(torch.as_tensor(t) < p.when, p.rate, p.after)
        return rate * y[0], 1e5 * (torch.cos(y[0]) - y[1])


CASES = [
    (Treated(), [0.3, -0.2, 7.3], np.arange(21.0)),
    (Treated(), [0.3, -0.2, 6.0], np.arange(21.0)),
    (Pulse(), [0.2, 3.3, 0.05], np.arange(10.0)),
    (Overflow(), [0.7, 1.9, 0.6], np.linspace(0.0, 8.0, 9)),
    (Burst(), [0.3, -0.2, 7.3], np.arange(21.0)),
]
NAMES = ["time", "time of a sample", "pulse", "state", "stiff"]


def expected(system: System, times: np.ndarray, values: Tensor) -> np.ndarray:
    """Integrate by SciPy in steps so short that the jumps do not matter."""
    p = values[:, None]

    def rhs(t: float, y: np.ndarray) -> np.ndarray:
        return system.derivative(torch.tensor([t]), torch.tensor(y)[:, None], p)[:, 0].numpy()

    start = [float(value) for value in system.default_initial_state.values()]
    span, stiff = (0.0, times[-1]), isinstance(system, Burst)
    return solve_ivp(
        rhs, span, start, "Radau" if stiff else "RK45", times, rtol=1e-9, atol=1e-11, max_step=0.01
    ).y.T


@pytest.mark.parametrize(("system", "values", "times"), CASES, ids=NAMES)
def test_predictions_and_derivatives(
    system: System, values: list[float], times: np.ndarray
) -> None:
    at = torch.tensor(values, dtype=torch.float64)
    found, slopes, status = predicted(system, times, at)
    found, slopes = found[0], slopes[0]
    assert not status.any()
    np.testing.assert_allclose(found, expected(system, times, at), rtol=2e-4, atol=2e-4)
    for place, value in enumerate(values):
        # An event on a sample has one derivative to either side: that from above is continuous.
        step = 1e-5 * abs(value)
        moved = at.clone()
        moved[place] += step
        above = predicted(system, times, moved)[0][0]
        moved[place] -= 2.0 * step
        below = predicted(system, times, moved)[0][0]
        difference = (above - below) / (2.0 * step)
        apart = (slopes[..., place] - difference).abs()
        on_sample = torch.from_numpy(times == values[-1])
        assert float(apart[~on_sample].max()) < 1e-4 * float(difference.abs().max()) + 1e-8


def test_a_switch_time_is_fitted_as_by_many_starts() -> None:
    times = np.arange(21.0)
    generator = np.random.default_rng(0)
    truth = np.exp(np.where(times < 7.3, 0.3 * times, 2.19 - 0.2 * (times - 7.3)))
    values = truth * np.exp(0.02 * generator.standard_normal(21))

    def squares(p: np.ndarray) -> float:
        rate, after, when = p
        line = np.where(times < when, rate * times, rate * when + after * (times - when))
        return float(np.square(np.log(values) - line - np.log(p0)).sum())

    p0 = 1.0
    best = min(
        (
            minimize(squares, (0.3, -0.2, when), method="Nelder-Mead", options={"xatol": 1e-9})
            for when in np.linspace(5.0, 10.0, 21)
        ),
        key=lambda found: found.fun,
    )
    data = xr.Dataset(
        {"observed": (("trajectory", "time", "output"), values.reshape(1, -1, 1))},
        coords={"time": times, "output": ["x"]},
    )
    fitted = fit(Treated(), data, distribution="lognormal", initial_state={"x": 1.0})
    assert int(fitted.status[0]) == 0
    assert float(fitted.sum_of_squares[0]) == pytest.approx(best.fun, rel=1e-6)
    np.testing.assert_allclose(fitted.parameters.values[0], best.x, rtol=1e-4)
    assert np.isfinite(fitted.standard_errors).all()


class Friction(System):
    """A block that slides until friction has stopped it."""

    states = (State("speed", "m/s"),)
    parameters = (Parameter("friction", "m/s^2", range=(0.5, 2.0)),)
    default_initial_state = {"speed": 1.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        return (-p.friction * torch.sign(y[0]),)


class Sliding(Friction):
    """The same without a branch at rest: the solution slides along a jump."""

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        return (torch.where(y[0] < 0.0, p.friction, -p.friction),)


@pytest.mark.parametrize("system", [Friction(), Sliding()])
def test_a_block_comes_to_rest_where_there_is_a_branch_at_rest(system: System) -> None:
    times = np.linspace(0.0, 3.0, 4)
    found, _, status = predicted(system, times, torch.tensor([0.8], dtype=torch.float64))
    assert int(status) == (Status.TOO_MANY_EVENTS if isinstance(system, Sliding) else 0)
    reached = 2 if isinstance(system, Sliding) else 4
    np.testing.assert_allclose(found[0, :reached, 0], [1.0, 0.2, 0.0, 0.0][:reached], atol=1e-9)
