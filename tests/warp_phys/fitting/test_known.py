"""What the caller knows or gives: initial states, parameters, starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.warp_phys.fitting.fit_records import (
    CONVERGED,
    OSCILLATOR,
    OUT_OF_TIME,
    TIMES,
    by_scipy,
    fit,
    found,
    oscillations,
    residuals,
    same_bits,
    truth_of,
)
from warp_phys.data_gen import simulate
from warp_phys.systems import Sine, UsageError


class TestInitialState:
    def close(self, fitted: xr.Dataset, data: xr.Dataset) -> None:
        assert (fitted["status"] == CONVERGED).all()
        np.testing.assert_allclose(fitted["parameters"], data["true_parameters"], rtol=1e-6)
        np.testing.assert_allclose(
            fitted["initial_state"], data["true_initial_state"], rtol=1e-6, atol=1e-6
        )

    def test_known_in_part(self) -> None:
        data = oscillations(3, noise=0.0)
        known = {"position": np.array([1.0, 1.0, 1.0])}
        fitted = fit(OSCILLATOR, data, initial_state=known)
        self.close(fitted, data)
        assert "velocity(0)" in fitted["estimated"].values
        assert "position(0)" not in fitted["estimated"].values
        assert (fitted["initial_state_standard_errors"].sel(state="position") == 0.0).all()

    def test_first_sample(self) -> None:
        data = oscillations(3)
        fitted = fit(OSCILLATOR, data, initial_state="first_sample")
        np.testing.assert_array_equal(fitted["initial_state"], data["observed"][:, 0])
        first = data["observed"].values[0, 0]
        residual = residuals(data.isel(trajectory=0))
        common = fit(OSCILLATOR, data, initial_state="first_sample", noise_sd="common")
        best = by_scipy(lambda p: residual([*p, *first]), truth_of(data.isel(trajectory=0))[:2])
        np.testing.assert_allclose(common["parameters"][0], best.x, rtol=1e-6)

    def test_known_to_the_data_set(self) -> None:
        data = oscillations(3, noise=0.0)
        data["known_initial_state"] = data["true_initial_state"]
        fitted = fit(OSCILLATOR, data)
        self.close(fitted, data)
        assert fitted["estimated"].values.tolist() == ["natural_frequency", "damping_rate"]
        one = fit(OSCILLATOR, data.isel(trajectory=1))
        same_bits(one, fitted.isel(trajectory=[1]))
        estimated = fit(OSCILLATOR, data, initial_state="estimate")
        assert estimated.sizes["estimated"] == 4
        data["known_initial_state"] = data["known_initial_state"].copy()
        data["known_initial_state"][1, 0] = np.nan
        again = fit(OSCILLATOR, data)
        self.close(again, data)
        assert again["known"].values.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 1]]

    def test_numbers_that_were_simulated(self, tmp_path: Path) -> None:
        """States given as numbers are not estimated; ranges and the system's defaults are."""
        start = {"position": 1.3, "velocity": (-2.0, 2.0)}
        data = oscillations(3, initial_states=start)
        wp.save(data, tmp_path / "data.nc")
        fitted = fit(OSCILLATOR, wp.load(tmp_path / "data.nc"))
        names = ["natural_frequency", "damping_rate", "velocity(0)"]
        assert (fitted["status"] == CONVERGED).all()
        assert fitted["estimated"].values.tolist() == names
        assert fitted["covariance"].shape == (3, 3, 3)
        assert (fitted["initial_state"].sel(state="position") == 1.3).all()
        assert (fitted["initial_state_standard_errors"].sel(state="position") == 0.0).all()
        same_bits(fitted, fit(OSCILLATOR, data, initial_state={"position": 1.3}))
        assert fit(OSCILLATOR, data, initial_state="estimate").sizes["estimated"] == 4
        assert fit(OSCILLATOR, oscillations(3)).sizes["estimated"] == 4

    def test_of_records_that_were_cut(self) -> None:
        """The state is known at the first time, so that it is not known at a later first sample."""
        data = oscillations(3, noise=0.0, initial_states={"position": 1.3})
        late = fit(OSCILLATOR, data.isel(time=slice(5, None)))
        assert late.sizes["estimated"] == 4
        np.testing.assert_allclose(
            late["initial_state"], data["noiseless"][:, 5].values, rtol=1e-6, atol=1e-6
        )
        early = fit(OSCILLATOR, data.isel(time=slice(20)))
        assert early.sizes["estimated"] == 3

    def test_before_the_first_sample(self) -> None:
        data = oscillations(3, noise=0.0)
        late = data.isel(time=slice(5, None))
        self.close(fit(OSCILLATOR, late, initial_time=0.0), data)
        self.close(fit(OSCILLATOR, late, initial_time=np.zeros(3)), data)

    def test_that_follows_from_parameters(self) -> None:
        data = simulate(Sine(frequency=None), 3, TIMES, noise=0.02, seed=0)
        fitted = fit(Sine(frequency=None), data)
        np.testing.assert_array_equal(
            fitted["initial_state"][:, 0], fitted["parameters"].sel(parameter="phase")
        )
        np.testing.assert_allclose(
            fitted["initial_state_standard_errors"][:, 0],
            fitted["standard_errors"].sel(parameter="phase"),
        )


class TestKnownParameters:
    @pytest.mark.parametrize("value", [2.0, [1.5, 2.0, 2.5]])
    def test_fixed(self, value: Any) -> None:
        data = oscillations(3)
        fitted = fit(OSCILLATOR, data, fixed={"damping_rate": value}, noise_sd="common")
        np.testing.assert_array_equal(
            fitted["parameters"].sel(parameter="damping_rate"), np.broadcast_to(value, 3)
        )
        assert fitted["fixed"].values.tolist() == [0, 1]
        assert (fitted["standard_errors"].sel(parameter="damping_rate") == 0.0).all()
        residual = residuals(data.isel(trajectory=1))
        best = by_scipy(lambda q: residual([q[0], 2.0, *q[1:]]), [15.0, 1.0, 0.0])
        np.testing.assert_allclose(np.delete(found(fitted, 1), 1), best.x, rtol=1e-6)

    def test_an_active_bound(self) -> None:
        data = oscillations(3)
        fitted = fit(OSCILLATOR, data, bounds={"damping_rate": (4.0, 8.0)}, noise_sd="common")
        assert (fitted["status"] == CONVERGED).all()
        assert fitted["on_bound"].values.tolist() == [[0, 1]] * 3
        np.testing.assert_allclose(fitted["parameters"][:, 1], 4.0, rtol=1e-4)
        residual = residuals(data.isel(trajectory=1))
        best = by_scipy(lambda q: residual([q[0], 4.0, *q[1:]]), [15.0, 1.0, 0.0])
        np.testing.assert_allclose(np.delete(found(fitted, 1), 1), best.x, rtol=1e-4)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("position", 'known .initial_state="estimate" estimates it'),
            ("damping_rate", "its value is fixed; leave it out"),
        ],
    )
    def test_bounds_of_what_is_known(self, name: str, message: str) -> None:
        data = oscillations(3, initial_states={"position": 1.0})
        with pytest.raises(UsageError, match=f"'{name}'. has no effect: .*{message}"):
            fit(OSCILLATOR, data, fixed={"damping_rate": 2.0}, bounds={name: (0.5, 3.0)})
        bounded = fit(OSCILLATOR, data, initial_state="estimate", bounds={"position": (0.5, 3.0)})
        assert (bounded["status"] == CONVERGED).all()

    def test_bounds_that_do_not_matter(self) -> None:
        data = oscillations(3)
        bounds = {"damping_rate": (0.01, 50.0), "position": (None, 5.0)}
        one, other = fit(OSCILLATOR, data), fit(OSCILLATOR, data, bounds=bounds)
        np.testing.assert_allclose(one["parameters"], other["parameters"], rtol=1e-6)
        assert (other["on_bound"] == 0).all()


class TestStarts:
    @pytest.fixture(scope="class")
    @classmethod
    def data(cls) -> xr.Dataset:
        return oscillations(3)

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, data: xr.Dataset) -> xr.Dataset:
        return fit(OSCILLATOR, data)

    @pytest.mark.parametrize("kind", ["mapping", "table", "fit", "estimate", "one of many"])
    def test_given(self, kind: str, data: xr.Dataset, fitted: xr.Dataset) -> None:
        estimate = wp.estimate(wp.WarpPhys(OSCILLATOR, head="regression"), data)
        initial = {
            "mapping": {"natural_frequency": 15.0, "position": [1.0, 0.9, 1.1]},
            "table": (1.1 * data["true_parameters"]).transpose(),
            "fit": fitted,
            "estimate": estimate,
            "one of many": oscillations(5).pipe(lambda many: fit(OSCILLATOR, many)),
        }[kind]
        again = fit(OSCILLATOR, data, initial=initial)
        assert (again["status"] == CONVERGED).all()
        assert (again["starts"] == 1).all()
        np.testing.assert_allclose(again["parameters"], fitted["parameters"], rtol=1e-7)
        if kind == "fit":
            assert (again["iterations"] <= 3).all()

    @pytest.mark.parametrize("starts", [1, 2, 7])
    def test_as_many_as_asked_for(self, starts: int, data: xr.Dataset, fitted: xr.Dataset) -> None:
        again = fit(OSCILLATOR, data, starts=starts)
        assert (again["starts"] == starts).all()
        assert (again["starts_agreeing"] <= starts).all()
        assert (again["starts_agreeing"] >= 1).all()
        np.testing.assert_allclose(again["parameters"], fitted["parameters"], rtol=1e-7)

    def test_no_time(self, data: xr.Dataset) -> None:
        fitted = fit(OSCILLATOR, data, time_budget=1e-9)
        assert (fitted["status"] == OUT_OF_TIME).all()
        # Every record was begun, and has the best of its starts.
        assert np.isfinite(fitted["parameters"]).all()
        assert np.isfinite(fitted["predicted"]).all()
        assert np.isnan(fitted["standard_errors"]).all()

    def test_no_iterations_left(self, data: xr.Dataset) -> None:
        start = {"natural_frequency": 9.0, "damping_rate": 0.2}
        fitted = fit(OSCILLATOR, data, initial=start, max_iterations=1)
        assert set(fitted["status"].values) <= {0, 1}
        assert np.isfinite(fitted["parameters"]).all()
