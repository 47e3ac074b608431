"""Intervals by profile likelihood against SciPy, and where quadratic ones are as good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats
from scipy.optimize import brentq, minimize_scalar

import warp_phys as wp
from tests.warp_phys.fitting.published_systems import BoxBOD
from warp_phys.data_gen import simulate
from warp_phys.systems import Parameter, State, System

DEMAND = wp.read_trajectories(Path(__file__).parents[3] / "data" / "boxbod.csv")


def fit_demand(**options: Any) -> xr.Dataset:
    given: dict[str, Any] = {"initial_state": {"oxygen_demand": 0.0}, "initial_time": 0.0}
    return wp.fit(BoxBOD(), DEMAND, progress=False, **{**given, **options})


def squares(b1: float, b2: float) -> float:
    t, y = DEMAND["time"].values, DEMAND["observed"].values[0, :, 0]
    return float(((b1 * (1.0 - np.exp(-b2 * t)) - y) ** 2).sum())


def profile(place: int) -> Callable[[float], float]:
    """Return the least sum of squares with one parameter held."""
    t, y = DEMAND["time"].values, DEMAND["observed"].values[0, :, 0]

    def of_rate(b2: float) -> float:
        shape = 1.0 - np.exp(-b2 * t)
        return squares(float(shape @ y / (shape @ shape)), b2)

    def of_plateau(b1: float) -> float:
        grid = np.logspace(-2, 1, 200)
        best = grid[np.argmin([squares(b1, rate) for rate in grid])]
        found = minimize_scalar(
            lambda b2: squares(b1, b2), bounds=(0.9 * best, 1.1 * best), options={"xatol": 1e-10}
        )
        return float(found.fun)

    return of_rate if place else of_plateau


def ends(place: int, best: float, level: float, far: tuple[float, float]) -> tuple[float, float]:
    """Return where the profile crosses its least value times 1 + t^2 / (n - p)."""
    of = profile(place)
    allowed = of(best) * (1.0 + stats.t.ppf(0.5 + 0.5 * level, 4) ** 2 / 4)
    low, high = (brentq(lambda x: of(x) - allowed, end, best, xtol=1e-9) for end in far)
    return low, high


@pytest.mark.parametrize(
    ("name", "place", "level", "far"),
    [
        ("b1", 0, 0.95, (160.0, 400.0)),
        ("b1", 0, 0.99, (120.0, 900.0)),
        ("b2", 1, 0.8, (0.05, 3.0)),
        ("b2", 1, 0.95, (0.05, 3.0)),
    ],
)
def test_profile(name: str, place: int, level: float, far: tuple[float, float]) -> None:
    fitted = fit_demand(level=level).sel(parameter=name).isel(trajectory=0)
    assert fitted["profiled"] == 1
    low, high = ends(place, float(fitted["parameters"]), level, far)
    tolerance = 0.0005 * 0.5 * (high - low)
    assert abs(float(fitted["parameters_lower"]) - low) < tolerance
    assert abs(float(fitted["parameters_upper"]) - high) < tolerance


def test_asymmetric() -> None:
    """A plateau that few samples reach may well be higher, but hardly lower."""
    fitted = fit_demand().sel(parameter="b1").isel(trajectory=0)
    below = float(fitted["parameters"] - fitted["parameters_lower"])
    above = float(fitted["parameters_upper"] - fitted["parameters"])
    assert above > 1.3 * below


class Growth(System):
    """Linear in both parameters on their supports but for the bijections."""

    time_unit = "s"
    states = (State("size", "m"),)
    parameters = (
        Parameter("slope", "m/s", "positive", (0.5, 2.0)),
        Parameter("share", "1", (0.0, 1.0), (0.2, 0.8)),
        Parameter("shift", "m", "real", (-1.0, 1.0)),
    )
    default_initial_state = {"size": 0.0}

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return (p.slope + p.share * 2.0 * t + p.shift * 3.0 * t**2,)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_nearly_linear_ones_are_not_profiled(level: float) -> None:
    """Symmetric on the line: products where positive, odds where bounded."""
    times = np.linspace(0.0, 2.0, 80)
    data = simulate(Growth(), 2, times, noise={"size": 0.002}, seed=0)
    fitted = wp.fit(Growth(), data, initial_state={"size": 0.0}, level=level, progress=False)
    assert (fitted["profiled"] == 0).all()
    t = stats.t.ppf(0.5 + 0.5 * level, 80 - 3)
    value, error, low, high = (
        fitted[name].values
        for name in ("parameters", "standard_errors", "parameters_lower", "parameters_upper")
    )
    relative = np.exp(t * error[:, 0] / value[:, 0])
    np.testing.assert_allclose(low[:, 0], value[:, 0] / relative, rtol=1e-6)
    np.testing.assert_allclose(high[:, 0], value[:, 0] * relative, rtol=1e-6)
    odds = value[:, 1] / (1.0 - value[:, 1])
    factor = np.exp(t * error[:, 1] / (value[:, 1] * (1.0 - value[:, 1])))
    np.testing.assert_allclose(low[:, 1] / (1.0 - low[:, 1]), odds / factor, rtol=1e-6)
    np.testing.assert_allclose(high[:, 1] / (1.0 - high[:, 1]), odds * factor, rtol=1e-6)
    np.testing.assert_allclose(low[:, 2], value[:, 2] - t * error[:, 2], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(high[:, 2], value[:, 2] + t * error[:, 2], rtol=1e-6, atol=1e-9)


class ClosedBOD(BoxBOD):
    """The same in closed form, which no rate is too fast for."""

    def solution(self, t: Any, y0: Any, p: Any) -> Any:
        return (p.b1 + (y0[0] - p.b1) * torch.exp(-p.b2 * t),)


@pytest.mark.parametrize("system", [ClosedBOD(), BoxBOD()])
def test_an_open_end_is_the_end_of_the_support(system: System) -> None:
    """Without the first sample any fast rate will do; with the last three, any rate at all."""
    given: dict[str, Any] = {"initial_state": {"oxygen_demand": 0.0}, "initial_time": 0.0}
    rows = []
    for first in (1, 3):
        data = DEMAND.isel(time=slice(first, None))
        fitted = wp.fit(system, data, level=0.99, progress=False, **given)
        assert (fitted["profiled"] == 1).all()
        rows.append(fitted.sel(parameter="b2").isel(trajectory=0))
    t, y = DEMAND["time"].values[1:], DEMAND["observed"].values[0, 1:, 0]

    def least(rate: float) -> float:
        shape = 1.0 - np.exp(-rate * t)
        return float(((shape @ y / (shape @ shape) * shape - y) ** 2).sum())

    best = float(rows[0]["parameters"])
    allowed = least(best) * (1.0 + stats.t.ppf(0.995, 3) ** 2 / 3)
    low = brentq(lambda rate: least(rate) - allowed, 0.01, best)
    assert least(1e3) < allowed
    np.testing.assert_allclose(rows[0]["parameters_lower"], low, rtol=1e-2)
    assert rows[0]["parameters_upper"] == np.inf
    assert rows[1]["parameters_lower"] == 0.0
    assert rows[1]["parameters_upper"] == np.inf


class TestShared:
    """Three demands with one rate: plateaus eliminated by linear least squares."""

    TIMES = np.array([1.0, 2.0, 3.0, 5.0, 7.0, 10.0])
    DEMANDS = np.array([200.0, 150.0, 260.0])[:, None] * (1.0 - np.exp(-0.5 * TIMES))
    DEMANDS += np.random.default_rng(0).normal(scale=15.0, size=DEMANDS.shape)

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls) -> xr.Dataset:
        data = xr.Dataset(
            {"observed": (("trajectory", "time", "output"), cls.DEMANDS[..., None])},
            coords={"time": cls.TIMES, "output": ["oxygen_demand"]},
        )
        data["time"].attrs["units"] = "day"
        given: dict[str, Any] = {"initial_state": {"oxygen_demand": 0.0}, "initial_time": 0.0}
        return wp.fit(BoxBOD(), data, shared=["b2"], progress=False, **given)

    def least(self, held: tuple[int, float] | None) -> Callable[[float], float]:
        """Return the sum of squares by the rate, with one plateau held."""

        def of_rate(rate: float) -> float:
            shape = 1.0 - np.exp(-rate * self.TIMES)
            plateaus = self.DEMANDS @ shape / (shape @ shape)
            if held is not None:
                plateaus[held[0]] = held[1]
            return float(((self.DEMANDS - plateaus[:, None] * shape) ** 2).sum())

        return of_rate

    def profile(self, row: int, plateau: float) -> float:
        found = minimize_scalar(
            self.least((row, plateau)), bounds=(0.05, 5.0), options={"xatol": 1e-10}
        )
        return float(found.fun)

    def allowed(self) -> tuple[float, float]:
        best = minimize_scalar(self.least(None), bounds=(0.05, 5.0), options={"xatol": 1e-12})
        return float(best.x), float(best.fun) * (1.0 + stats.t.ppf(0.975, 14) ** 2 / 14)

    def test_the_shared_rate(self, fitted: xr.Dataset) -> None:
        rate, most = self.allowed()
        of = self.least(None)
        low, high = (brentq(lambda x: of(x) - most, end, rate) for end in (0.05, 5.0))
        rows = fitted.sel(parameter="b2")
        np.testing.assert_allclose(rows["parameters_lower"], low, rtol=1e-5)
        np.testing.assert_allclose(rows["parameters_upper"], high, rtol=1e-5)

    @pytest.mark.parametrize("row", [0, 1, 2])
    def test_a_plateau_of_its_own(self, fitted: xr.Dataset, row: int) -> None:
        most = self.allowed()[1]
        one = fitted.sel(parameter="b1").isel(trajectory=row)
        best = float(one["parameters"])
        low, high = (
            brentq(lambda x: self.profile(row, x) - most, end, best)
            for end in (0.5 * best, 2.0 * best)
        )
        np.testing.assert_allclose(one["parameters_lower"], low, rtol=1e-5)
        np.testing.assert_allclose(one["parameters_upper"], high, rtol=1e-5)


class Product(BoxBOD):
    """The rate is a product of which no data determine a factor."""

    parameters = (*BoxBOD.parameters, Parameter("b3", "1", "positive", (0.1, 10.0)))

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return (p.b2 * p.b3 * (p.b1 - y[0]),)


def test_beside_undetermined_ones() -> None:
    """The plateau has the interval it has where the rate is one parameter; the factors are open."""
    given: dict[str, Any] = {"initial_state": {"oxygen_demand": 0.0}, "initial_time": 0.0}
    fitted = wp.fit(Product(), DEMAND, progress=False, **given).isel(trajectory=0)
    alone = fit_demand().isel(trajectory=0)
    for name in ("parameters_lower", "parameters_upper"):
        np.testing.assert_allclose(
            fitted[name].sel(parameter="b1"), alone[name].sel(parameter="b1"), rtol=1e-4
        )
    factors = fitted.sel(parameter=["b2", "b3"])
    assert (factors["parameters_lower"] == 0.0).all()
    assert np.isinf(factors["parameters_upper"]).all()
    assert np.isnan(factors["standard_errors"]).all()


def test_no_intervals_without_convergence_or_freedom() -> None:
    fitted = fit_demand(max_iterations=1, initial={"b1": 20.0, "b2": 5.0}, starts=1)
    assert (fitted["profiled"] == 0).all()
    few = wp.fit(
        BoxBOD(),
        DEMAND.isel(time=[0, 3]),
        initial_state={"oxygen_demand": 0.0},
        initial_time=0.0,
        progress=False,
    )
    assert np.isnan(few["parameters_lower"]).all()
    assert np.isnan(few["parameters_upper"]).all()
