"""The search for the global optimum from several starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from scipy.optimize import differential_evolution, least_squares
from torch import Tensor

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import Output, Parameter, State, System


class Swing(System):
    """An oscillation whose frequency may be anything within two decades."""

    time_unit = "s"
    states = (State("position", "1"), State("velocity", "1/s"))
    parameters = (Parameter("frequency", "1/s", "positive", (0.3, 30.0)),)
    default_initial_state = {"position": 1.0, "velocity": 0.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return the rates."""
        return y[1], -(p.frequency**2) * y[0]


class Decays(System):
    """The sum of two decays, whose rates can be exchanged."""

    time_unit = "h"
    states = (State("first", "1"), State("second", "1"))
    outputs = (Output("total", "1"),)
    parameters = (
        Parameter("one", "1/h", "positive", (0.1, 10.0)),
        Parameter("other", "1/h", "positive", (0.1, 10.0)),
    )
    default_initial_state = {"first": 1.0, "second": 1.0}

    def observe(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return the sum."""
        return (y[0] + y[1],)

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return the rates."""
        return -p.one * y[0], -p.other * y[1]


class Wave(System):
    """A sine of unknown amplitude and phase: most frequencies explain nothing, equally well."""

    time_unit = "s"
    states = (State("unused", "1"),)
    outputs = (Output("signal", "1"),)
    parameters = (
        Parameter("frequency", "1/s", "positive", (0.05, 10.0)),
        Parameter("amplitude", "1", "positive", (0.1, 10.0)),
        Parameter("phase", "1", "real", (-3.1, 3.1)),
    )
    default_initial_state = {"unused": 1.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return zero."""
        return (0.0 * y[0],)

    def observe(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return the sine."""
        angle = 2.0 * torch.pi * p.frequency * torch.as_tensor(t) + p.phase
        return (p.amplitude * torch.sin(angle),)


START = {"position": 1.0, "velocity": 0.0}
TIMES = np.linspace(0.0, 5.0, 40)


def swings() -> xr.Dataset:
    known = {"frequency": np.array([1.0, 3.0, 6.0, 11.0, 14.0])}
    data = simulate(
        Swing(), 5, TIMES, parameters=known, initial_states=START, noise=0.2, seed=1, progress=False
    )
    return data.sel(output=["position"])


def decays() -> xr.Dataset:
    known = {"one": 0.4, "other": 3.0}
    ones = {"first": 1.0, "second": 1.0}
    return simulate(
        Decays(),
        3,
        TIMES,
        parameters=known,
        initial_states=ones,
        noise=0.01,
        seed=1,
        progress=False,
    )


def test_aliases_of_a_frequency_as_by_differential_evolution() -> None:
    data = swings()
    fitted = wp.fit(Swing(), data, progress=False)
    for row, observed in enumerate(data["observed"].values[:, :, 0]):

        def squares(w: Any, observed: Any = observed) -> float:
            return float(((np.cos(w[0] * TIMES) - observed) ** 2).sum())

        best = differential_evolution(squares, [(0.3, 30.0)], seed=0, popsize=60, tol=1e-10)
        np.testing.assert_allclose(fitted["sum_of_squares"][row], best.fun, rtol=1e-6)


def test_exchangeable_rates_are_two_optima_as_by_many_starts() -> None:
    data = decays()
    fitted = wp.fit(Decays(), data, starts=20, progress=False)
    assert (fitted["optima"] == 2).all()
    assert (fitted["starts_agreeing"] < fitted["starts"]).all()
    starts = np.exp(np.random.default_rng(0).uniform(np.log(0.1), np.log(10.0), (20, 2)))
    for row, observed in enumerate(data["observed"].values[:, :, 0]):

        def residual(line: Any, observed: Any = observed) -> Any:
            return np.exp(-np.exp(line[:, None]) * TIMES).sum(axis=0) - observed

        best = min(2.0 * least_squares(residual, np.log(start)).cost for start in starts)
        np.testing.assert_allclose(fitted["sum_of_squares"][row], best, rtol=1e-6)


def test_what_the_data_do_not_determine_makes_no_optima() -> None:
    data = simulate("mass_spring_damper", 2, TIMES, noise=0.02, seed=0, progress=False)
    fitted = wp.fit("mass_spring_damper", data, starts=8, progress=False)
    assert (fitted["optima"] == 1).all()


def test_a_trajectory_alone_is_searched_as_in_a_batch() -> None:
    data = swings()
    together = wp.fit(Swing(), data, progress=False)
    for row in range(5):
        alone = wp.fit(Swing(), data.isel(trajectory=[row]), progress=False)
        for name in ("starts", "starts_agreeing", "optima"):
            assert int(alone[name][0]) == int(together[name][row])
        np.testing.assert_allclose(alone["parameters"][0], together["parameters"][row], rtol=1e-12)


def test_no_worse_than_the_start() -> None:
    data = swings()
    # Between two aliases, as far from the optimum as a frequency can be.
    given = {"frequency": 1.25 * data["true_parameters"].values[:, 0]}
    for starts in (1, 4):
        fitted = wp.fit(Swing(), data, initial=given, starts=starts, progress=False)
        at_start = np.cos(given["frequency"][:, None] * TIMES) - data["observed"].values[:, :, 0]
        assert (fitted["sum_of_squares"].values <= (at_start**2).sum(axis=1)).all()


def test_rates_that_run_off_do_not_hold_up_the_others() -> None:
    """A stiff end of a valley once took two minutes for 40 records of 20 samples."""
    times = np.linspace(0.0, 20.0, 20)
    data = simulate("michaelis_menten", 10, times, noise=0.05, seed=0, progress=False)
    fitted = wp.fit("michaelis_menten", data, progress=False, time_budget=20.0)
    assert not (fitted["status"] == 6).any()
    assert np.isfinite(fitted["log_likelihood"]).all()


def test_starts_that_explain_nothing_do_not_end_the_search() -> None:
    generator = np.random.default_rng(8)
    times = np.linspace(0.0, 10.0, 101)
    frequencies = generator.uniform(0.1, 4.9, (100, 1))
    noise = 0.3 * generator.standard_normal((100, 101))
    values = 2.0 * np.sin(2.0 * np.pi * frequencies * times + 0.7) + noise
    # Those that are lost where equally bad starts count as having met the best one.
    rows = [19, 37, 53, 66]
    data = xr.Dataset(
        {"observed": (("trajectory", "time", "output"), values[:, :, None])},
        coords={"time": times, "output": ["signal"]},
    ).isel(trajectory=rows)
    fitted = wp.fit(Wave(), data, initial_state={"unused": 1.0}, progress=False)
    left = (noise[rows] ** 2).sum(axis=1)
    assert (fitted["sum_of_squares"].values <= left).all()
