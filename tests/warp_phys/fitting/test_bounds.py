"""Bounds of many decades, and starts far below the width of a range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from tests.warp_phys.fitting.fit_records import CONVERGED, fit
from warp_phys.systems import Parameter, State, System

DECADES = (1e-5, 1e5)


class Clearance(System):
    """Virus under therapy: infected cells die at the rate delta, virus is cleared at c."""

    time_unit = "day"
    states = (State("cells", "1", support="positive"), State("virus", "1", support="positive"))
    parameters = (
        Parameter("c", "1/day", support="positive", range=DECADES),
        Parameter("delta", "1/day", support="positive", range=DECADES),
    )
    default_initial_state = {"cells": 1.0, "virus": 1.0}

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return -p.delta * y[0], p.c * (y[0] - y[1])


class Elimination(System):
    """Decay by one rate, which may be tiny."""

    time_unit = "h"
    states = (State("amount", "mg", support="positive"),)
    parameters = (Parameter("rate", "1/h", support="positive", range=(1e-10, 1e3)),)
    default_initial_state = {"amount": 1.0}

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return (-p.rate * y[0],)


def record(times: NDArray[np.float64], values: NDArray[np.float64], output: str) -> xr.Dataset:
    return xr.Dataset(
        {"observed": (("trajectory", "time", "output"), values.reshape(1, -1, 1))},
        coords={"time": times, "output": [output]},
    )


def decay(rate: float, seed: int = 0) -> xr.Dataset:
    times = np.linspace(0.0, 2.0 / rate, 41)
    noise = 1e-3 * np.random.default_rng(seed).standard_normal(41)
    return record(times, np.exp(-rate * times) * (1.0 + noise), "amount")


@pytest.mark.parametrize("ends", [None, DECADES, (1e-2, 1e4), (0.0, 1e5), (1e-5, None)])
def test_bounds_of_many_decades_do_not_spoil_the_starts(ends: Any) -> None:
    c, delta, times = 2.0, 0.5, np.linspace(0.25, 7.0, 16)
    virus = (c * np.exp(-delta * times) - delta * np.exp(-c * times)) / (c - delta)
    virus *= np.exp(0.05 * np.random.default_rng(1).standard_normal(16))
    fitted = fit(
        Clearance(),
        record(times, virus, "virus"),
        bounds=None if ends is None else {"c": ends, "delta": ends},
        initial_state={"cells": 1.0, "virus": 1.0},
        initial_time=0.0,
        distribution="lognormal",
    )
    assert fitted["status"] == CONVERGED
    # c and delta may be exchanged.
    np.testing.assert_allclose(np.sort(fitted["parameters"][0]), [delta, c], rtol=0.3)


@pytest.mark.parametrize("ends", [None, (1e-10, 1e3), (0.0, 1e3), (-1.0, 1e3)])
@pytest.mark.parametrize("rate", [1e-8, 3e-5, 0.2])
def test_a_rate_far_below_the_width_of_its_range(rate: float, ends: Any) -> None:
    data = decay(rate)
    bounds = None if ends is None else {"rate": ends}
    known = {"amount": 1.0}
    one = fit(
        Elimination(),
        data,
        initial={"rate": rate},
        initial_state=known,
        bounds=bounds,
        starts=1,
        max_iterations=1,
    )
    # 41 values with a noise of 1e-3 at the start, which is the truth.
    assert float(one["sum_of_squares"][0]) < 3.0 * 41e-6
    fitted = fit(Elimination(), data, initial={"rate": rate}, initial_state=known, bounds=bounds)
    assert fitted["status"] == CONVERGED
    np.testing.assert_allclose(fitted["parameters"], rate, rtol=2e-3)


def test_a_start_far_outside_its_range_can_move() -> None:
    # 1e-6 of the lower end of the range, and further out than where a support counts as ended.
    class Narrow(Elimination):
        parameters = (Parameter("rate", "1/h", support="positive", range=(1.0, 2.0)),)

    fitted = fit(
        Narrow(), decay(1e-8), initial={"rate": 3e-8}, initial_state={"amount": 1.0}, starts=1
    )
    assert (fitted["status"].item(), fitted["on_bound"].item()) == (CONVERGED, 0)
    np.testing.assert_allclose(fitted["parameters"], 1e-8, rtol=2e-3)


class Losses(System):
    """Two ways to be lost, of which the data show none of the second."""

    time_unit = "h"
    states = (State("amount", "mg", support="positive"), State("found", "mg"))
    parameters = (
        Parameter("one", "1/h", support="positive", range=DECADES),
        Parameter("other", "1/h", support="positive", range=DECADES),
    )
    default_initial_state = {"amount": 1.0, "found": 0.0}

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return -(p.one + p.other) * y[0], p.other * y[0]


@pytest.mark.parametrize("bound", [1e-10, 1e-5, 1e-3])
def test_an_optimum_beyond_a_bound_is_reached_at_the_bound(bound: float) -> None:
    generator = np.random.default_rng(4)
    times = np.linspace(0.0, 10.0, 21)
    # What was found is less than nothing: the best rate is negative.
    noise = 1e-3 * generator.standard_normal((21, 2))
    values = np.stack([np.exp(-0.3 * times), -0.05 * (1.0 - np.exp(-0.3 * times))], axis=1) + noise
    data = xr.Dataset(
        {"observed": (("trajectory", "time", "output"), values[None])},
        coords={"time": times, "output": ["amount", "found"]},
    )
    fitted = fit(
        Losses(),
        data,
        initial={"one": 0.1, "other": 0.1},
        initial_state={"amount": 1.0, "found": 0.0},
        bounds={"other": (bound, 1e3)},
        noise_sd="common",
    ).isel(trajectory=0)
    assert int(fitted["status"]) == CONVERGED
    # Nearer to a tiny bound, predictions would not change any more.
    assert float(fitted["parameters"][1]) == pytest.approx(bound, rel=2e-3, abs=1e-10)
    # With a coordinate that runs to infinity, it would be the limit.
    assert int(fitted["iterations"]) < 50
