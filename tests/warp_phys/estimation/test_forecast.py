from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import warp_phys as wp
from tests.systems.noise.student_t import StudentT
from tests.warp_phys.fitting.noisy_records import TIMES, noisy_records
from warp_phys.data_gen import simulate
from warp_phys.systems import (
    LotkaVolterra,
    Output,
    Parameter,
    SchemaError,
    State,
    System,
    UsageError,
    integrate,
)
from warp_phys.systems.noise.registry import noise_of

CONTEXT = 11


def test_without_spread_it_is_the_flow_from_the_estimated_state() -> None:
    data = simulate("lotka_volterra", n=3, times=np.linspace(0.0, 4.0, 81), seed=0)
    found = wp.estimate(wp.WarpPhys("lotka_volterra", head="regression"), data)
    times = [2.0, 4.5, 6.0]
    predicted = wp.forecast(found, times)
    for row in range(3):
        solution = integrate(
            LotkaVolterra(),
            [0.0, *times],
            found["initial_state"].values[row, -1:],
            found["parameters"].values[row, -1:],
            rtol=1e-10,
        )
        np.testing.assert_allclose(predicted["predicted"][row], solution.states[0, 1:], rtol=1e-4)
    assert "predicted_lower" not in predicted


def test_a_late_first_state_is_run_on_from_its_own_time() -> None:
    data = simulate("lotka_volterra", n=2, times=np.linspace(0.0, 4.0, 81), seed=0)
    gap = data["observed"].values.copy()
    gap[:, :3, 0] = np.nan
    late = data.assign(observed=(data["observed"].dims, gap))
    found = wp.estimate(wp.WarpPhys("lotka_volterra", head="regression"), late)
    assert np.isnan(found["initial_state"][:, :3]).all()
    np.testing.assert_allclose(found["initial_time"], data["time"][3])
    predicted = wp.forecast(found, [4.0])["predicted"]
    np.testing.assert_allclose(predicted[:, 0], data["noiseless"][:, -1], rtol=0.02)


def test_bands_cover_what_is_measured_later(noisy_model: wp.WarpPhys) -> None:
    data = noisy_records(400, seed=2)
    later = TIMES[CONTEXT:]
    forecast = wp.forecast(noisy_model, later, data=data.isel(time=slice(CONTEXT)), draws=100)
    observed = data["observed"].sel(time=later)
    inside = (forecast["observed_lower"] <= observed) & (observed <= forecast["observed_upper"])
    # A short training: the bands are honest to a few percent, not exact.
    assert 0.8 < float(inside.mean()) < 0.99
    assert (forecast["predicted_lower"] <= forecast["predicted_upper"]).all()


def test_an_estimate_and_its_model_forecast_alike_alone_and_in_a_batch(
    noisy_model: wp.WarpPhys,
) -> None:
    data = noisy_records(5, seed=3)
    by_model = wp.forecast(noisy_model, [9.0, 10.0], data=data, draws=30)
    by_estimate = wp.forecast(wp.estimate(noisy_model, data), [9.0, 10.0], draws=30)
    alone = wp.forecast(noisy_model, [9.0, 10.0], data=data.isel(trajectory=[3]), draws=30)
    for name in by_model.data_vars:
        np.testing.assert_array_equal(by_model[name], by_estimate[name])
        np.testing.assert_allclose(alone[name][0], by_model[name][3], rtol=1e-7)


def test_the_seed_decides_the_draws(noisy_model: wp.WarpPhys) -> None:
    found = wp.estimate(noisy_model, noisy_records(2, seed=3))
    first, second, other = (wp.forecast(found, [9.0], draws=20, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first["predicted_lower"], second["predicted_lower"])
    assert (first["predicted_lower"] != other["predicted_lower"]).all()


def test_bands_widen_with_the_level(noisy_model: wp.WarpPhys) -> None:
    found = wp.estimate(noisy_model, noisy_records(2, seed=3))
    wide, narrow = (wp.forecast(found, [9.0], level=level) for level in (0.95, 0.5))
    assert (wide["predicted_upper"] > narrow["predicted_upper"]).all()


def test_constant_noise_widens_the_band_of_a_measurement() -> None:
    options = {"times": TIMES, "noise": 0.25, "distribution": "lognormal"}
    chosen = wp.WarpPhys("lotka_volterra", head="direct", window=4, width=16)
    wp.train(chosen, simulate("lotka_volterra", n=600, seed=1, **options), steps=30, progress=False)
    data = simulate("lotka_volterra", n=2, seed=2, **options)
    found = wp.estimate(chosen, data)
    assert np.allclose(found["noise_sd"], 0.25)
    forecast = wp.forecast(found, [9.0])
    assert (forecast["observed_upper"] / forecast["predicted_upper"] != 1.0).all()


def test_mistakes_are_named(noisy_model: wp.WarpPhys) -> None:
    data = noisy_records(2, seed=3)
    found = wp.estimate(noisy_model, data.assign_coords(time=data["time"] + 1900.0))
    with pytest.raises(UsageError, match="from 1900 on, the first sample of trajectory 0"):
        wp.forecast(found, [1899.0, 1901.0])
    with pytest.raises(UsageError, match="to increase"):
        wp.forecast(found, [1910.0, 1909.0])
    with pytest.raises(UsageError, match="needs the records: pass data="):
        wp.forecast(noisy_model, [1.0])
    with pytest.raises(UsageError, match="with a model only"):
        wp.forecast(found, [1910.0], data=data)
    with pytest.raises(SchemaError, match="'parameters' from estimate"):
        wp.forecast(data, [9.0])
    with pytest.raises(UsageError, match="at least two draws"):
        wp.forecast(found, [1910.0], draws=1)


class HalfSeen(System):
    """Two decays of which the sum is observed."""

    time_unit = "s"
    states = (State("fast", "1", "positive"), State("slow", "1", "positive"))
    outputs = (Output("total", "1", "positive"),)
    parameters = (Parameter("rate", "1/s", "positive", (0.5, 2.0)),)

    def rhs(self, t, y, p):
        """Return the decays."""
        return -p.rate * y[0], -0.1 * p.rate * y[1]

    def observe(self, t, y, p):
        """Return the sum."""
        return (y[0] + y[1],)


def test_a_users_own_system_is_asked_for() -> None:
    data = simulate(HalfSeen(), n=600, times=np.linspace(0.0, 3.0, 13), noise=0.02, seed=0)
    chosen = wp.WarpPhys(HalfSeen(), head="direct", window=4, width=16)
    wp.train(chosen, data, steps=50, progress=False)
    found = wp.estimate(chosen, data.isel(trajectory=[0, 1]))
    with pytest.raises(UsageError, match=r"system=YourSystem\(\)"):
        wp.forecast(found, [4.0])
    forecast = wp.forecast(found, [4.0], system=HalfSeen())
    assert list(forecast["output"]) == ["total"]


def test_warp_forecasts_from_frozen_weights() -> None:
    times = np.linspace(0.0, 1.0, 16)
    data = simulate("sine", n=600, times=times, seed=1)
    chosen = wp.Warp(root_width=12)
    wp.train(chosen, data, steps=250, learning_rate=2e-2, progress=False)
    test = simulate("sine", n=50, times=times, seed=2)
    forecast = wp.forecast(chosen, times[8:], data=test.isel(time=slice(8)))
    assert forecast["predicted"].dims == ("trajectory", "time", "output")
    truth = test["observed"].isel(time=slice(8, None))
    error = float(((forecast["predicted"] - truth) ** 2).mean())
    held = test["observed"].isel(time=7, drop=True)
    assert error < 0.1 * float(((held - truth) ** 2).mean())
    with pytest.raises(UsageError, match="pass data="):
        wp.forecast(chosen, [2.0])
    for name, value in (("level", 0.5), ("draws", 20), ("seed", 1)):
        with pytest.raises(UsageError, match=f"expected no {name} with Warp"):
            wp.forecast(chosen, [2.0], data=test, **{name: value})
    with pytest.raises(UsageError, match="pass system= with a fit or an estimate only"):
        wp.forecast(chosen, [2.0], data=test, system=LotkaVolterra())


def test_an_estimate_under_a_noise_model_with_parameters_can_be_forecast(tmp_path: Path) -> None:
    noise = StudentT(4.0)
    data = simulate(
        "pendulum", 500, np.linspace(0.0, 2.0, 11), noise=0.05, distribution=noise, seed=0
    )
    model = wp.WarpPhys("pendulum", head="direct", width=8)
    wp.train(model, data, steps=5, progress=False)
    model.save(tmp_path / "model.safetensors")
    loaded = wp.WarpPhys.load(tmp_path / "model.safetensors")
    estimated = wp.estimate(loaded, data.isel(trajectory=slice(0, 2)), progress=False)
    assert noise_of(estimated.attrs).settings == noise.settings
    ahead = wp.forecast(estimated, [2.5], draws=20, progress=False)
    assert ahead["predicted"].notnull().all()
