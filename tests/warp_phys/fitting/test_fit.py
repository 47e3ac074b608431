"""What `fit` finds, against the truth and against itself in another batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from tests.warp_phys.fitting.fit_records import (
    CONVERGED,
    DIVERGED,
    INVALID_DATA,
    OSCILLATOR,
    SD,
    TIMES,
    TOO_FEW_VALUES,
    Floats,
    by_scipy,
    fit,
    found,
    oscillations,
    oscillations_on,
    own_residuals,
    same_bits,
    truth_of,
)
from warp_phys.data_gen import log_uniform, simulate
from warp_phys.systems import (
    SIR,
    LotkaVolterra,
    MassSpringDamper,
    Parameter,
    Pendulum,
    Sine,
    State,
    System,
    VanDerPol,
    integrate,
)


class TestTruth:
    CASES = {
        "sine": (Sine(), Sine().default_times, {}),
        "damped_oscillator": (OSCILLATOR, TIMES, {"initial_state": "estimate"}),
        "mass_spring_damper": (MassSpringDamper(m=0.03), TIMES, {}),
        "pendulum": (Pendulum(), np.linspace(0.0, 5.0, 41), {}),
        "lotka_volterra": (
            LotkaVolterra(
                alpha=(0.5, 1.0), beta=(0.02, 0.04), gamma=(0.5, 1.0), delta=(0.02, 0.04)
            ),
            np.arange(21.0),
            {},
        ),
        "van_der_pol": (VanDerPol(), np.linspace(0.0, 10.0, 61), {}),
        "sir": (SIR(transmission=(1.0, 3.0)), np.arange(15.0), {}),
    }

    def data(self, name: str, noise: float, **options: Any) -> xr.Dataset:
        system, times, _ = self.CASES[name]
        return simulate(system, 4, times, noise=noise, seed=2, **options)

    @pytest.mark.parametrize("name", CASES)
    def test_is_found_within_its_standard_errors(self, name: str) -> None:
        system, _, options = self.CASES[name]
        data = self.data(name, 0.02)
        fitted = fit(system, data, **options)
        assert (fitted["status"] == CONVERGED).all()
        free = {"parameter": list(system.free_names)}
        error = (fitted["parameters"] - data["true_parameters"]).sel(free)
        assert (abs(error) < 5.0 * fitted["standard_errors"].sel(free)).all()
        if not system.has_initial_state:
            error = fitted["initial_state"] - data["true_initial_state"]
            assert (abs(error) < 5.0 * fitted["initial_state_standard_errors"]).all()

    @pytest.mark.parametrize("name", CASES)
    def test_is_found_exactly_without_noise(self, name: str) -> None:
        system, _, options = self.CASES[name]
        data = self.data(name, 0.0, rtol=1e-12, atol=1e-30)
        fitted = fit(system, data, rtol=1e-12, **options)
        assert (fitted["status"] == CONVERGED).all()
        np.testing.assert_allclose(fitted["parameters"], data["true_parameters"], rtol=1e-8)

    @pytest.mark.parametrize("factor", [0.7, 1.3])
    def test_a_frequency_that_is_off(self, factor: float) -> None:
        """Over 10 s, in which a start 30 % off falls out of step ten times."""
        data = simulate(
            OSCILLATOR,
            3,
            np.linspace(0.0, 10.0, 601),
            parameters={"natural_frequency": [15.0, 18.0, 20.0], "damping_rate": 0.3},
            noise=0.05,
            seed=0,
        )
        true = data["true_parameters"]
        start = true.copy()
        start.loc[{"parameter": "natural_frequency"}] *= factor
        fitted = fit(OSCILLATOR, data, initial=start)
        assert (fitted["status"] == CONVERGED).all()
        assert (abs(fitted["parameters"] - true) < 5.0 * fitted["standard_errors"]).all()

    @pytest.mark.parametrize("factor", [0.7, 1.3])
    def test_a_period_that_is_off(self, factor: float) -> None:
        system = LotkaVolterra()
        values = {"alpha": 0.55, "beta": 0.028, "gamma": 0.8, "delta": 0.024}
        data = simulate(
            system,
            2,
            np.linspace(0.0, 40.0, 121),
            parameters=values,
            initial_states={"prey": 30.0, "predator": (4.0, 8.0)},
            noise=0.05,
            seed=0,
        )
        start = {name: factor * value for name, value in values.items()}
        fitted = fit(system, data, initial=start)
        assert (fitted["status"] == CONVERGED).all()
        error = fitted["parameters"] - data["true_parameters"]
        assert (abs(error) < 5.0 * fitted["standard_errors"]).all()

    def test_small_parameters_beside_long_times(self) -> None:
        data = simulate(Slow(), 3, np.linspace(0.0, 3e5, 20), noise=0.01, seed=0)
        fitted = fit(Slow(), data)
        assert (fitted["status"] == CONVERGED).all()
        error = fitted["parameters"] - data["true_parameters"]
        assert (abs(error) < 5.0 * fitted["standard_errors"]).all()
        assert (fitted["standard_errors"] < 0.05 * data["true_parameters"]).all()

    @pytest.mark.parametrize(("seed", "row"), [(0, 843), (2, 609)])
    def test_records_that_once_ended_elsewhere(self, seed: int, row: int) -> None:
        """Of the accuracy benchmark, seeds 0 and 2."""
        system, data = LotkaVolterra(**STUDY), benchmark_record(seed, row)
        fitted = fit(system, data[["observed"]], initial_state="estimate")
        assert fitted["status"] == CONVERGED
        error = (fitted["parameters"] - data["true_parameters"]).values[0]
        assert (abs(error) < 10.0 * cramer_rao(system, data)[:4]).all()


STUDY = {"alpha": (0.5, 1.5), "beta": (0.3, 1.0), "gamma": (0.5, 1.5), "delta": (0.3, 1.0)}


class Still(LotkaVolterra):
    """What `simulate` draws for LotkaVolterra, without the time it takes to integrate it."""

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return 0.0 * y

    def solution(self, t: Any, y0: Any, p: Any) -> Any:
        return y0 + 0.0 * t


def benchmark_record(seed: int, row: int) -> xr.Dataset:
    """Return a record of `benchmarks/fit_accuracy.py`."""
    times = np.linspace(0.0, 10.0, 101)
    drawn = simulate(
        Still(**STUDY),
        row + 1,
        times,
        parameters={name: log_uniform(*pair) for name, pair in STUDY.items()},
        initial_states={name: log_uniform(0.5, 2.0) for name in ("prey", "predator")},
        noise={"prey": 1.0, "predator": 1.0},
        seed=seed,
        progress=False,
    ).isel(trajectory=[row])
    data = simulate(
        LotkaVolterra(**STUDY),
        1,
        times,
        parameters=drawn["true_parameters"].values,
        initial_states=drawn["true_initial_state"].values,
    )
    level = 0.02 * data["noiseless"].std("time").values
    noise = (drawn["observed"] - drawn["noiseless"]).values
    data["observed"] = data["noiseless"] + level * noise
    data["true_noise_sd"][:] = level
    return data


def cramer_rao(system: System, data: xr.Dataset) -> Floats:
    """Return the least standard deviations of parameters and initial states of one record."""
    truth, count = truth_of(data.isel(trajectory=0)), len(system.parameters)
    steps = 1e-4 * np.diag(truth)
    moved = np.concatenate([truth + steps, truth - steps])
    options = {"rtol": 1e-10, "atol": 1e-12}
    found = integrate(
        system, data["time"].values, moved[:, count:], moved[:, :count], **options
    ).states.numpy()
    slopes = (found[: len(truth)] - found[len(truth) :]) / (2e-4 * truth[:, None, None])
    rows = (slopes / data["true_noise_sd"].values).reshape(len(truth), -1)
    return np.sqrt(np.linalg.inv(rows @ rows.T).diagonal())


class Slow(System):
    """Decay within days, in seconds."""

    time_unit = "s"
    states = (State("mass", "kg", "positive"),)
    parameters = (Parameter("rate", "1/s", "positive", (3e-6, 3e-5)),)
    default_initial_state = {"mass": (0.5, 2.0)}

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return (-p.rate * y[0],)


class TestBatches:
    @pytest.fixture(scope="class")
    @classmethod
    def data(cls) -> xr.Dataset:
        return oscillations(9, missing=0.2)

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, data: xr.Dataset) -> xr.Dataset:
        return fit(OSCILLATOR, data)

    def test_alone(self, data: xr.Dataset, fitted: xr.Dataset) -> None:
        for row in (0, 4, 8):
            same_bits(fit(OSCILLATOR, data.isel(trajectory=[row])), fitted.isel(trajectory=[row]))

    def test_in_another_order(self, data: xr.Dataset, fitted: xr.Dataset) -> None:
        order = [3, 8, 0, 1, 7, 6, 2, 5, 4]
        same_bits(fit(OSCILLATOR, data.isel(trajectory=order)), fitted.isel(trajectory=order))

    def test_integrated_ones(self) -> None:
        system = LotkaVolterra()
        data = simulate(system, 9, np.arange(21.0), noise=0.1, seed=1)
        together = fit(system, data, starts=1)
        order = [8, 2, 5]
        same_bits(
            fit(system, data.isel(trajectory=order), starts=1), together.isel(trajectory=order)
        )
        same_bits(fit(system, data.isel(trajectory=[7]), starts=1), together.isel(trajectory=[7]))

    def test_bad_ones(self, data: xr.Dataset, fitted: xr.Dataset) -> None:
        broken = data.copy(deep=True)
        broken["observed"][1] = np.nan
        broken["observed"][4, 3:] = np.nan
        broken["observed"][4, :, 0] = np.nan
        broken["observed"][6] = 1e200  # whose squares are infinite
        again = fit(OSCILLATOR, broken)
        status = again["status"].values
        assert status[[1, 4, 6]].tolist() == [INVALID_DATA, TOO_FEW_VALUES, DIVERGED]
        assert np.isnan(again["parameters"][[1, 4, 6]]).all()
        good = [0, 2, 3, 5, 7, 8]
        same_bits(again.isel(trajectory=good), fitted.isel(trajectory=good))

    def test_huber_alone(self) -> None:
        data = oscillations(5)
        data["observed"][:, 4::9] += 30.0 * SD
        together = fit(OSCILLATOR, data, loss="huber")
        alone = fit(OSCILLATOR, data.isel(trajectory=[2]), loss="huber")
        same_bits(alone, together.isel(trajectory=[2]))

    def test_known_values_alone(self) -> None:
        system, known = LotkaVolterra(), np.array([0.5, 0.7, 0.9])
        data = simulate(system, 3, np.arange(21.0), parameters={"alpha": known}, noise=0.1, seed=1)
        together = fit(system, data, fixed={"alpha": known})
        alone = fit(system, data.isel(trajectory=[0]), fixed={"alpha": known[0]})
        same_bits(alone, together.isel(trajectory=[0]))

    def test_a_zero_under_log_normal_noise(self) -> None:
        system = LotkaVolterra()
        data = simulate(system, 3, np.arange(21.0), noise=0.1, distribution="lognormal", seed=1)
        options: dict[str, Any] = {"distribution": "lognormal", "starts": 1}
        before = fit(system, data, **options)
        data["observed"][1, 4, 0] = 0.0
        after = fit(system, data, **options)
        assert after["status"].values.tolist() == [CONVERGED, INVALID_DATA, CONVERGED]
        same_bits(after.isel(trajectory=[0, 2]), before.isel(trajectory=[0, 2]))

    def test_infinite_values_are_missing(self, data: xr.Dataset, fitted: xr.Dataset) -> None:
        infinite = data.copy(deep=True)
        infinite["observed"] = data["observed"].fillna(np.inf)
        infinite["observed"][::2] *= -1.0
        infinite["observed"][::2] = -infinite["observed"][::2]
        same_bits(fit(OSCILLATOR, infinite), fitted)

    def test_own_grids(self) -> None:
        """Padded, each gives what it gives alone on its own times."""
        times = np.sort(np.random.default_rng(0).uniform(size=(3, 25)), axis=1)
        times[1, 18:] = np.nan
        data = oscillations_on(times)
        fitted = fit(OSCILLATOR, data)
        assert fitted["predicted"].dims == ("trajectory", "sample", "output")
        alone = fit(OSCILLATOR, data.isel(trajectory=[1], sample=slice(18)))
        np.testing.assert_array_equal(fitted["parameters"][1], alone["parameters"][0])
        assert np.isnan(fitted["predicted"][1, 18:]).all()
        best = by_scipy(own_residuals(data, 1), truth_of(data.isel(trajectory=1)))
        common = fit(OSCILLATOR, data, noise_sd="common")
        np.testing.assert_allclose(found(common, 1), best.x, rtol=1e-6)
