"""Forecasts from fits: the curve of the fit, and bands that are what theory and records say."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import Input, Parameter, SchemaError, State, System, UsageError

TIMES = np.arange(0.0, 3.0, 0.1)
LATER = np.array([3.5, 4.5, 5.5])


class Drift(System):
    """A straight line: linear in all that is unknown, so its bands are known."""

    time_unit = "s"
    states = (State("place", "m"),)
    parameters = (Parameter("speed", "m/s", range=(-1.0, 1.0)),)
    default_initial_state = {"place": (-1.0, 1.0)}

    def rhs(self, t, y, p):
        """Return the speed."""
        return (p.speed + 0.0 * y[0],)


class Pushed(System):
    """A driven body."""

    time_unit = "s"
    states = (State("speed", "m/s"),)
    parameters = (Parameter("drag", "1/s", "positive", (0.5, 2.0)),)
    inputs = (Input("push", "m/s2"),)
    default_initial_state = {"speed": 0.0}

    def rhs(self, t, y, p):
        """Return push and drag."""
        return (p.push - p.drag * y[0],)


@pytest.fixture(scope="module")
def swings() -> xr.Dataset:
    every = np.r_[TIMES, LATER]
    return simulate("pendulum", n=200, times=every, noise=0.05, seed=3, progress=False)


@pytest.fixture(scope="module")
def fitted(swings: xr.Dataset) -> xr.Dataset:
    return wp.fit("pendulum", swings.isel(time=slice(len(TIMES))), progress=False)


def covered(forecast: xr.Dataset, band: str, values: xr.DataArray) -> float:
    inside = (forecast[f"{band}_lower"] <= values) & (values <= forecast[f"{band}_upper"])
    return float(inside.mean())


def test_bands_cover_what_comes(swings: xr.Dataset, fitted: xr.Dataset) -> None:
    assert (fitted.status == 0).all()
    forecast = wp.forecast(fitted, LATER, draws=100)
    later = swings.isel(time=slice(len(TIMES), None))
    assert 0.85 < covered(forecast, "predicted", later.noiseless) < 0.95
    assert 0.85 < covered(forecast, "observed", later.observed) < 0.95
    assert forecast.attrs["band_level"] == 0.9
    assert forecast.attrs["title"] == "forecast of pendulum"


def test_the_curve_is_that_of_the_fit(fitted: xr.Dataset) -> None:
    few = fitted.isel(trajectory=[0, 1])
    forecast = wp.forecast(few, TIMES, draws=20)
    np.testing.assert_allclose(forecast.predicted, few.predicted, atol=1e-5)
    one = wp.forecast(fitted.isel(trajectory=1), TIMES, draws=20)
    np.testing.assert_allclose(one.predicted[0], forecast.predicted[1], rtol=1e-12)


def test_alone_as_in_a_batch_and_after_a_round_trip(fitted: xr.Dataset, tmp_path) -> None:
    wp.save(fitted, tmp_path / "fit.nc")
    read = wp.load(tmp_path / "fit.nc")
    together = wp.forecast(read.isel(trajectory=slice(4)), LATER, draws=20)
    alone = wp.forecast(fitted.isel(trajectory=[3]), LATER, draws=20)
    for name in together.data_vars:
        np.testing.assert_allclose(alone[name][0], together[name][3], rtol=1e-12)


@pytest.mark.parametrize("known", [False, True], ids=["unknown noise", "known noise"])
def test_bands_of_a_straight_line_are_those_of_linear_regression(*, known: bool) -> None:
    times, ahead = np.arange(6.0), np.array([8.0, 12.0])
    data = simulate(Drift(), n=1, times=times, noise={"place": 0.3}, seed=4)
    fit = wp.fit(Drift(), data, noise_sd={"place": 0.3} if known else "each")
    forecast = wp.forecast(fit, ahead, system=Drift(), draws=40_000)
    design, wanted = (np.c_[np.ones(len(t)), t] for t in (times, ahead))
    values = data.observed.values[0, :, 0]
    solution, residual, *_ = np.linalg.lstsq(design, values, rcond=None)
    variance = 0.09 if known else residual[0] / 4
    quantile = stats.norm.ppf(0.95) if known else stats.t.ppf(0.95, 4)
    of_line = variance * np.einsum("ij,jk,ik->i", wanted, np.linalg.inv(design.T @ design), wanted)
    for band, total in (("predicted", of_line), ("observed", of_line + variance)):
        half = quantile * np.sqrt(total)
        for end, sign in (("lower", -1.0), ("upper", 1.0)):
            found = forecast[f"{band}_{end}"].values[0, :, 0]
            np.testing.assert_allclose(found, wanted @ solution + sign * half, atol=0.03 * half[0])


def test_what_is_not_determined_does_not_widen_the_bands() -> None:
    data = simulate("mass_spring_damper", n=2, times=TIMES, noise=0.05, seed=0)
    options = {"initial": data.true_parameters, "progress": False}
    free = wp.fit("mass_spring_damper", data, **options)
    assert (free.undetermined == "m, k and c are not determined, only k/m and c/m are").all()
    mass = data.true_parameters.sel(parameter="m").values
    held = wp.fit("mass_spring_damper", data, fixed={"m": mass}, **options)
    one, other = (wp.forecast(fit, [3.2, 3.4], draws=4000) for fit in (free, held))
    np.testing.assert_allclose(one.predicted, other.predicted, atol=1e-6)
    widths = [fit.predicted_upper - fit.predicted_lower for fit in (one, other)]
    np.testing.assert_allclose(widths[0] / widths[1], 1.0, atol=0.1)


def test_lognormal_noise_multiplies_and_bounds_hold() -> None:
    data = simulate(
        "lotka_volterra", n=1, times=np.arange(15.0), noise=0.2, distribution="lognormal", seed=0
    )
    top = data.true_parameters.sel(parameter="alpha").item() * 1.1
    fit = wp.fit(
        "lotka_volterra",
        data,
        initial=data.true_parameters,
        distribution="lognormal",
        bounds={"alpha": (0.05, top)},
    )
    supports = dict(zip(fit.estimated.values, fit.estimated_upper.values, strict=True))
    assert supports == {
        "alpha": top,
        "beta": np.inf,
        "gamma": np.inf,
        "delta": np.inf,
        "prey(0)": np.inf,
        "predator(0)": np.inf,
    }
    forecast = wp.forecast(fit, np.arange(15.0, 20.0), draws=200)
    assert (forecast.observed_lower > 0.0).all()
    assert (forecast.observed_upper > forecast.predicted_upper).all()
    assert (forecast.predicted_upper > forecast.predicted_lower).all()


def test_fits_that_failed_are_nan_and_disturb_no_other(swings: xr.Dataset) -> None:
    data = swings.isel(trajectory=slice(3), time=slice(len(TIMES))).copy(deep=True)
    data["observed"][1] = np.nan
    fit = wp.fit("pendulum", data, progress=False)
    forecast = wp.forecast(fit, LATER, draws=20)
    assert np.isnan(forecast.predicted[1]).all()
    assert np.isnan(forecast.observed_upper[1]).all()
    alone = wp.forecast(fit.isel(trajectory=[2]), LATER, draws=20)
    np.testing.assert_allclose(forecast.predicted_upper[2], alone.predicted_upper[0], rtol=1e-12)


def test_a_fit_that_has_not_converged_has_a_curve_without_bands(fitted: xr.Dataset) -> None:
    stopped = fitted.isel(trajectory=[0]).assign(status=("trajectory", [1], fitted.status.attrs))
    forecast = wp.forecast(stopped, LATER, draws=20)
    assert np.isfinite(forecast.predicted).all()
    assert np.isnan(forecast.predicted_lower).all()


def test_own_grids_and_an_earlier_initial_time(swings: xr.Dataset) -> None:
    times = np.stack([TIMES, TIMES + 0.05])
    times[0, 20:] = np.nan
    data = simulate("pendulum", n=2, times=times, noise=0.02, seed=1)
    fit = wp.fit("pendulum", data, initial_time=-0.5, progress=False)
    forecast = wp.forecast(fit, [-0.5, 0.05, 4.0], draws=20)
    np.testing.assert_allclose(forecast.predicted[1, 1], fit.predicted[1, 0], atol=1e-5)
    np.testing.assert_allclose(
        forecast.predicted[:, 0, 0], fit.initial_state.sel(state="angle"), rtol=1e-6
    )
    with pytest.raises(UsageError, match=r"from -0.5 on, the initial state of trajectory 0, got"):
        wp.forecast(fit, [-1.0])


def test_mistakes_are_named(fitted: xr.Dataset, swings: xr.Dataset) -> None:
    with pytest.raises(UsageError, match="fits and estimates know their records"):
        wp.forecast(fitted, LATER, data=swings)
    with pytest.raises(SchemaError, match=r"estimate\(...\) or fit\(...\), got Dataset"):
        wp.forecast(fitted.drop_vars("information"), LATER)
    times = np.linspace(0.0, 4.0, 21)
    driven = simulate(
        Pushed(), n=1, times=times, inputs={"push": np.sin(times)}, noise=0.02, seed=0
    )
    with pytest.raises(UsageError, match="pushed is driven by push, whose future a forecast"):
        wp.forecast(wp.fit(Pushed(), driven), [5.0], system=Pushed())
