"""Right-hand sides that jump at times which the expressions show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import warp_phys as wp
from warp_phys.systems import Parameter, State, System, integrate


class Infusion(System):
    """A short infusion, and decay."""

    states = (State("x", "mg"),)
    parameters = (
        Parameter("start", "h", range=(0.0, 90.0)),
        Parameter("duration", "h", support="positive", range=(1e-4, 1.0)),
    )
    default_initial_state = {"x": 0.0}

    def rhs(self, t, y, p):
        t = torch.as_tensor(t)
        on = (t > p.start) & (t <= p.start + p.duration)
        return (torch.where(on, 1.0 / p.duration, 0.0) - 0.1 * y[0],)


class Schedule(Infusion):
    """The same from the hours 20 to 20.01, whatever the parameters."""

    def rhs(self, t, y, p):
        t = torch.as_tensor(t)
        return (torch.where((2.0 * t >= 40.0) & (t < 20.01), 100.0, 0.0) - 0.1 * y[0],)


def solution(t, start, duration):
    k = 0.1
    during = (1.0 - np.exp(-k * np.clip(t - start, 0.0, duration))) / (k * duration)
    return during * np.exp(-k * np.clip(t - start - duration, 0.0, None))


@pytest.mark.parametrize("method", ["auto", "dop853", "rk45", "rodas5p", "scipy"])
@pytest.mark.parametrize("compiler", ["", "none"])
def test_pulses_are_not_stepped_over(method, compiler, monkeypatch):
    monkeypatch.setenv("WARP_PHYS_COMPILER", compiler)
    times = np.array([0.0, 50.0, 100.0])
    rows = [[33.3, 1e-3], [70.0, 0.5], [50.0, 0.01], [-5.0, 1.0]]
    found = integrate(Infusion(), times, [[0.0]] * len(rows), rows, method=method)
    for row, (start, duration) in enumerate(rows):
        expected = np.zeros(3) if start < 0.0 else solution(times, start, duration)
        np.testing.assert_allclose(found.states[row, :, 0], expected, rtol=1e-6, atol=1e-12)


def test_times_that_are_plain_numbers():
    times = np.array([0.0, 100.0])
    found = integrate(Schedule(), times, [[0.0]], [[1.0, 1.0]])
    expected = solution(times, 20.0, 0.01)
    np.testing.assert_allclose(found.states[0, :, 0], expected, rtol=1e-6)


class Stiff(System):
    """A relaxation that begins when the integration does."""

    states = (State("x", "1"),)
    parameters = (Parameter("rate", "1/s", "positive", (1e3, 1e7)),)
    default_initial_state = {"x": 0.0}

    def rhs(self, t, y, p):
        return (torch.where(torch.as_tensor(t) < 0.0, 0.0, p.rate * (1.0 - y[0])),)


def test_a_jump_at_the_very_start_of_a_stiff_system() -> None:
    """The nearest number to zero is so near that the reciprocal of a step to it is infinite."""
    found = integrate(Stiff(), [0.0, 1.0], [[0.0]], [[1e6]], method="rodas5p")
    assert bool(found.converged.all())
    np.testing.assert_allclose(found.states[0, :, 0], [0.0, 1.0], rtol=1e-7)


class Daily(System):
    """A short pulse every 25 hours, by one of several ways to write it."""

    states = (State("x", "mg"),)
    parameters = (Parameter("rate", "mg/h", support="positive", range=(1.0, 1e3)),)
    default_initial_state = {"x": 0.0}

    def __init__(self, on):
        super().__init__()
        self.on = on

    def rhs(self, t, y, p):
        on = self.on(torch.as_tensor(t))
        return (torch.where(on, p.rate, 0.0 * p.rate) - 0.1 * y[0],)


PULSES = {
    "remainder": lambda t: torch.remainder(t - 3.3, 25.0) < 0.01,
    "floor": lambda t: (t - 3.3) - 25.0 * torch.floor((t - 3.3) / 25.0) < 0.01,
    "cosine": lambda t: torch.cos(2 * np.pi * (t - 3.305) / 25.0) > np.cos(np.pi * 0.01 / 25.0),
}


@pytest.mark.parametrize(
    "name",
    [
        "remainder",
        pytest.param("floor", marks=pytest.mark.long),
        pytest.param("cosine", marks=pytest.mark.long),
    ],
)
def test_repeated_pulses_in_solutions_and_fits(name):
    """No sample and no step needs to lie within a pulse."""
    system = Daily(PULSES[name])
    times = np.linspace(0.0, 100.0, 11)
    expected = sum(1.0 * solution(times, 3.3 + 25.0 * day, 0.01) for day in range(4))
    found = integrate(system, times, [[0.0]], [[100.0]])
    np.testing.assert_allclose(found.states[0, :, 0], expected, rtol=1e-6, atol=1e-9)
    data = xr.Dataset(
        {"observed": (("trajectory", "time", "output"), expected.reshape(1, -1, 1))},
        coords={"time": times, "output": ["x"]},
    )
    fitted = wp.fit(system, data, initial_state={"x": 0.0}, progress=False)
    np.testing.assert_allclose(fitted["parameters"], 100.0, rtol=1e-6)
