"""Noise models of a user's own, through `simulate`, `fit`, `forecast` and `summary`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize, minimize_scalar

import warp_phys as wp
from tests.systems.noise.poisson import Poisson
from tests.systems.noise.student_t import StudentT
from tests.warp_phys.fitting.fit_records import (
    CONVERGED,
    INVALID_DATA,
    OSCILLATOR,
    SD,
    fit,
    found,
    oscillation,
    oscillations,
    truth_of,
)
from warp_phys.data_gen import simulate
from warp_phys.systems import LogisticGrowth
from warp_phys.systems.errors import UsageError

HEAVY = StudentT(3.0)
GROWTH = LogisticGrowth()
DAYS = np.linspace(0.0, 12.0, 25)


def heavy_tailed(n: int) -> xr.Dataset:
    return oscillations(n, distribution=HEAVY)


def counts(n: int) -> xr.Dataset:
    return simulate(
        GROWTH,
        n,
        DAYS,
        parameters={"growth": (0.5, 0.8), "capacity": (60.0, 90.0)},
        initial_states={"population": (5.0, 10.0)},
        distribution=Poisson(),
        seed=5,
    )


class TestStudentT:
    def test_it_is_the_optimum_of_its_likelihood(self) -> None:
        data = heavy_tailed(3)
        record = data.isel(trajectory=1)
        observed, t = record["observed"].values, record["time"].values
        scale = np.maximum(np.abs(truth_of(record)), 1.0)

        def objective(scaled: Any) -> float:
            residual = observed - oscillation(t, scaled[:4] * scale)
            return -stats.t.logpdf(residual, 3.0, scale=SD * np.exp(scaled[4:])).sum()

        start = np.array([*(truth_of(record) / scale), 0.0, 0.0])
        best = minimize(objective, start, method="BFGS", options={"gtol": 1e-7})
        fitted = fit(OSCILLATOR, data, distribution=HEAVY)
        np.testing.assert_allclose(found(fitted, 1), best.x[:4] * scale, rtol=1e-4)
        np.testing.assert_allclose(fitted["log_likelihood"][1], -best.fun, rtol=1e-9)
        level = fitted["noise_sd"][1] * np.sqrt(58.0 / 62.0)
        np.testing.assert_allclose(level, SD * np.exp(best.x[4:]), rtol=1e-4)

    def test_it_beats_squares_and_its_errors_are_right(self) -> None:
        data = heavy_tailed(300)
        errors = {}
        for noise in (HEAVY, "normal"):
            fitted = fit(OSCILLATOR, data, distribution=noise, starts=1, initial=truths(data))
            assert (fitted["status"] == CONVERGED).all()
            errors[str(noise)] = fitted["parameters"] - data["true_parameters"]
            inside = (fitted["parameters_lower"] <= data["true_parameters"]) & (
                data["true_parameters"] <= fitted["parameters_upper"]
            )
            if noise is HEAVY:
                # 600 intervals, two and two of a record not independent: 3 standard errors.
                assert 0.915 < float(inside.mean()) < 0.98
        rms = [(error**2).mean("trajectory") ** 0.5 for error in errors.values()]
        assert (rms[0] < 0.9 * rms[1]).all()

    def test_alone_and_together(self) -> None:
        data = heavy_tailed(4)
        together = fit(OSCILLATOR, data, distribution=HEAVY)
        alone = fit(OSCILLATOR, data.isel(trajectory=[2]), distribution=HEAVY)
        np.testing.assert_allclose(found(together, 2), found(alone), rtol=1e-12)

    def test_known_scales(self) -> None:
        data = heavy_tailed(2)
        fitted = fit(OSCILLATOR, data, distribution=HEAVY, noise_sd=SD)
        expected = stats.t.logpdf(data["observed"] - fitted["predicted"], 3.0, scale=SD)
        np.testing.assert_allclose(fitted["log_likelihood"], expected.sum(axis=(1, 2)), rtol=1e-10)
        assert fitted["reduced_chi_square"].isnull().all()

    def test_one_common_scale_and_a_shared_parameter(self) -> None:
        data = heavy_tailed(4)
        options: dict[str, Any] = {"noise_sd": "common", "shared": ["damping_rate"]}
        fitted = fit(OSCILLATOR, data, distribution=HEAVY, **options)
        assert (fitted["status"] == CONVERGED).all()
        assert np.ptp(fitted["noise_sd"].values) == 0.0

    def test_without_compiler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = heavy_tailed(1)
        options: dict[str, Any] = {"distribution": HEAVY, "starts": 1, "initial": truths(data)}
        fastest = fit(OSCILLATOR, data, **options)
        monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
        slower = fit(OSCILLATOR, data, **options)
        np.testing.assert_allclose(found(slower), found(fastest), rtol=1e-9)

    def test_from_a_file_to_summary_and_forecast(self, tmp_path: Path) -> None:
        data = heavy_tailed(1)
        wp.save(fit(OSCILLATOR, data, distribution=HEAVY), tmp_path / "fit.nc")
        fitted = wp.load(tmp_path / "fit.nc")
        assert fitted.attrs["distribution"] == "users_student_t"
        assert "noise scale of position" in wp.summary(fitted)
        assert fitted["noise_sd"].attrs["long_name"] == "scale of the noise"
        assert "(freedom = " in wp.summary(fitted)
        ahead = {
            name: wp.forecast(one, [1.2], level=0.99, draws=4000, progress=False)
            for name, one in {
                "heavy": fitted,
                "normal": fitted.assign_attrs(distribution="normal", settings="{}"),
            }.items()
        }
        width = {name: one["observed_upper"] - one["observed_lower"] for name, one in ahead.items()}
        # 99 % of Student's t with 3 degrees of freedom, over 99 % of normal noise.
        ratio = (width["heavy"] / width["normal"]).values
        assert (ratio > 1.5).all()
        assert (ratio < 2.6).all()

    def test_hubers_loss_is_for_normal_noise(self) -> None:
        with pytest.raises(UsageError, match="got Student-t noise, which has a loss of its own"):
            fit(OSCILLATOR, heavy_tailed(1), distribution=HEAVY, loss="huber")


class TestPoisson:
    def test_it_is_the_optimum_of_its_likelihood(self) -> None:
        data = counts(3)
        y = data["observed"].values[1, :, 0]

        def expected(unknowns: Any) -> Any:
            rate, capacity, first = unknowns
            return capacity / (1.0 + (capacity / first - 1.0) * np.exp(-rate * DAYS))

        def objective(logs: Any) -> float:
            return -stats.poisson.logpmf(y, expected(np.exp(logs))).sum()

        start = np.log(
            [*data["true_parameters"].values[1], data["true_initial_state"].values[1, 0]]
        )
        best = minimize(objective, start, method="BFGS", options={"gtol": 1e-6})
        fitted = fit(GROWTH, data, distribution=Poisson())
        np.testing.assert_allclose(found(fitted, 1), np.exp(best.x), rtol=1e-4)
        np.testing.assert_allclose(fitted["log_likelihood"][1], -best.fun, rtol=1e-9)
        steps = np.exp(best.x) * 1e-6
        slopes = np.stack(
            [
                (expected(np.exp(best.x) + along) - expected(np.exp(best.x) - along)) / 2e-6
                for along in np.diag(steps)
            ],
            axis=1,
        ) / np.exp(best.x)
        information = slopes.T @ (slopes / expected(np.exp(best.x))[:, None])
        errors = np.sqrt(np.linalg.inv(information).diagonal())
        given = [*fitted["standard_errors"][1], *fitted["initial_state_standard_errors"][1]]
        np.testing.assert_allclose(given, errors, rtol=1e-3)

    def test_there_is_no_level(self) -> None:
        data = counts(2)
        fitted = fit(GROWTH, data, distribution=Poisson())
        assert fitted["noise_sd"].isnull().all()
        statistics = wp.summary(fitted, 0).split("Variables")[0]
        assert "noise              = Poisson" in statistics
        assert "noise level" not in statistics
        ahead = wp.forecast(fitted, [13.0], progress=False)
        above = ahead["observed_upper"] - ahead["predicted"]
        np.testing.assert_allclose(above / ahead["predicted"] ** 0.5, 1.645, rtol=0.3)
        with pytest.raises(UsageError, match="Poisson noise has no level; leave out noise_sd"):
            fit(GROWTH, data, distribution=Poisson(), noise_sd=1.0)
        with pytest.raises(UsageError, match="Poisson noise has no level; leave out noise"):
            simulate(GROWTH, 1, DAYS, noise=0.1, distribution=Poisson())

    def test_what_is_no_count(self) -> None:
        data = counts(2)
        data["observed"][1, 3, 0] = 2.5
        fitted = fit(GROWTH, data, distribution=Poisson())
        assert fitted["status"].values.tolist() == [CONVERGED, INVALID_DATA]
        assert "values that are not a count under Poisson noise" in wp.summary(fitted, 1)


class TestHubersLikelihood:
    def test_it_is_that_of_a_density(self) -> None:
        """By numerical integration, at its own level of maximum likelihood."""
        data = simulate(
            "pendulum", n=1, times=np.arange(51) * 0.1, noise=0.01, observe=["angle"], seed=4
        )
        data["observed"][0, 20] += 1.0
        fitted = fit("pendulum", data, loss="huber")
        residual = (data["observed"] - fitted["predicted"]).values.ravel()
        c = 1.345

        def rho(u: Any) -> Any:
            return np.where(np.abs(u) <= c, u * u, c * (2.0 * np.abs(u) - c))

        total = quad(lambda u: np.exp(-0.5 * rho(u)), -80.0, 80.0, points=[-c, c])[0]
        best = minimize_scalar(
            lambda log_level: (
                0.5 * rho(residual / np.exp(log_level)) + log_level + np.log(total)
            ).sum(),
            bracket=(-6.0, -1.0),
        )
        likelihood = float(fitted["log_likelihood"][0])
        np.testing.assert_allclose(likelihood, -best.fun, rtol=1e-8)
        assert "least favorable density" in fitted["log_likelihood"].attrs["note"]
        # With an outlier it is the better description, and Akaike's criterion says so.
        squares = fit("pendulum", data)
        assert likelihood > float(squares["log_likelihood"][0]) + 30.0
        assert f"{10.0 - 2.0 * likelihood:.6g}" in wp.summary(fitted)


def truths(data: xr.Dataset) -> dict[str, Any]:
    values = data["true_parameters"]
    return {str(name): values.sel(parameter=name).values for name in values["parameter"].values}
