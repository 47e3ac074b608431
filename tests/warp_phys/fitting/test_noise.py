"""Noise, robust losses and shared parameters, against SciPy's least squares."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

import warp_phys as wp
from tests.warp_phys.fitting.fit_records import (
    CONVERGED,
    OSCILLATOR,
    SD,
    TIMES,
    Floats,
    by_scipy,
    fit,
    found,
    oscillation,
    oscillations,
    residuals,
    truth_of,
)
from warp_phys.data_gen import simulate
from warp_phys.fitting.options import FitOptions
from warp_phys.fitting.search import run_block
from warp_phys.fitting.settle_level import settle_level
from warp_phys.likelihood.starting_points import middle_start
from warp_phys.minimizing.optimum import Options, Outcome
from warp_phys.records.records import read_records
from warp_phys.systems import LotkaVolterra, Pendulum
from warp_phys.systems.noise.registry import as_noise

BY_SAMPLE = np.linspace(0.5, 2.0, len(TIMES))[:, None] * SD
BY_TRAJECTORY = np.array([1.0, 1.5, 0.5])[:, None] * SD


class TestNoise:
    """Each form of known noise, and the optimum of least squares with those weights."""

    FORMS = {
        "common": ("common", 1.0),
        "by name": ({"position": SD[0], "velocity": SD[1]}, SD),
        "by name and trajectory": (
            dict(zip(("position", "velocity"), BY_TRAJECTORY.T, strict=True)),
            BY_TRAJECTORY[1],
        ),
        "by name and sample": (
            {"position": np.tile(BY_SAMPLE[:, 0], (3, 1)), "velocity": SD[1]},
            np.stack([BY_SAMPLE[:, 0], np.full(len(TIMES), SD[1])], axis=1),
        ),
        "outputs": (SD, SD),
        "trajectories": (BY_TRAJECTORY, BY_TRAJECTORY[1]),
        "samples": (np.tile(BY_SAMPLE, (3, 1, 1)), BY_SAMPLE),
        "labeled": (xr.DataArray(SD, dims="output"), SD),
    }

    @pytest.mark.parametrize("form", FORMS)
    def test_least_squares(self, form: str) -> None:
        given, sd = self.FORMS[form]
        data = oscillations(3, missing=0.1)
        record = data.isel(trajectory=1)
        fitted = fit(OSCILLATOR, data, noise_sd=given)
        best = by_scipy(residuals(record, sd), truth_of(record))
        np.testing.assert_allclose(found(fitted, 1), best.x, rtol=1e-6)
        if form != "common":
            free = len(best.fun) - 4
            chi_square = float(fitted["reduced_chi_square"][1])
            np.testing.assert_allclose(chi_square, 2.0 * best.cost / free, rtol=1e-8)

    def test_a_level_for_each_output(self) -> None:
        data = oscillations(3, missing=0.1)
        record = data.isel(trajectory=1)
        observed, t = record["observed"].values, record["time"].values
        seen, counts = np.isfinite(observed), np.isfinite(observed).sum(axis=0)
        scale = truth_of(record) + np.array([0.0, 0.0, 0.0, 1.0])

        def objective(scaled: Any) -> Any:
            off = np.where(seen, oscillation(t, scaled * scale) - observed, 0.0)
            return 0.5 * (counts * np.log((off**2).sum(axis=0) / counts)).sum()

        def slope(scaled: Any) -> Floats:
            steps = scaled + 1e-30j * np.eye(4)
            return np.array([objective(step).imag for step in steps]) / 1e-30

        best = minimize(objective, truth_of(record) / scale, jac=slope, options={"gtol": 1e-9})
        fitted = fit(OSCILLATOR, data)
        np.testing.assert_allclose(found(fitted, 1), best.x * scale, rtol=1e-6)
        level = (fitted["noise_sd"][1] ** 2).values * (counts.sum() - 4) / counts.sum()
        likelihood = -0.5 * (counts * (np.log(2.0 * np.pi * level) + 1.0)).sum()
        np.testing.assert_allclose(likelihood, fitted["log_likelihood"][1], rtol=1e-9)
        constant = 0.5 * counts.sum() * (np.log(2.0 * np.pi) + 1.0)
        np.testing.assert_allclose(likelihood, -best.fun - constant, rtol=1e-9)

    def test_a_system_to_be_integrated(self) -> None:
        system, data = LotkaVolterra(), hares()
        observed, t = data["observed"].values[0], data["time"].values

        def residual(unknowns: Any) -> Any:
            alpha, beta, gamma, delta = unknowns[:4]
            solution = solve_ivp(
                lambda _, y: [(alpha - beta * y[1]) * y[0], (delta * y[0] - gamma) * y[1]],
                (0.0, t[-1]),
                unknowns[4:],
                method="DOP853",
                t_eval=t,
                rtol=1e-11,
                atol=1e-11,
            )
            return (np.log(solution.y.T) - np.log(observed)).ravel()

        fitted = fit(
            system,
            data,
            initial_state="estimate",
            distribution="lognormal",
            noise_sd="common",
            starts=1,
        )
        best = by_scipy(residual, truth_of(data.isel(trajectory=0)), jac="3-point")
        np.testing.assert_allclose(found(fitted), best.x, rtol=1e-6)
        np.testing.assert_allclose(fitted["sum_of_squares"][0], 2.0 * best.cost, rtol=1e-7)

    def test_huber(self) -> None:
        data = oscillations(3)
        clean = fit(OSCILLATOR, data, noise_sd=SD)
        data["observed"][:, 4::9] += 30.0 * SD
        record = data.isel(trajectory=1)
        fitted = fit(OSCILLATOR, data, noise_sd=SD, loss="huber")
        best = by_scipy(residuals(record, SD), truth_of(record), loss="huber", f_scale=1.345)
        np.testing.assert_allclose(found(fitted, 1), best.x, rtol=1e-5)
        squares = fit(OSCILLATOR, data, noise_sd=SD)
        moved = [abs(each["parameters"] - clean["parameters"]) for each in (fitted, squares)]
        assert (moved[0].sum("parameter") < 0.5 * moved[1].sum("parameter")).all()

    def test_huber_with_unknown_levels_resists_outliers(self) -> None:
        data = oscillations(3)
        clean = fit(OSCILLATOR, data)
        data["observed"][:, 4::9] += 30.0 * SD
        fitted = fit(OSCILLATOR, data, loss="huber")
        assert (fitted["status"] == CONVERGED).all()
        error = abs(fitted["parameters"] - clean["parameters"])
        assert (error < 2.0 * clean["standard_errors"]).all()
        np.testing.assert_allclose(fitted["noise_sd"], clean["noise_sd"], rtol=0.6)


def hares() -> xr.Dataset:
    return simulate(
        LotkaVolterra(),
        1,
        np.arange(21.0),
        parameters={"alpha": 0.55, "beta": 0.028, "gamma": 0.8, "delta": 0.024},
        initial_states={"prey": 30.0, "predator": 5.0},
        noise=0.1,
        distribution="lognormal",
        seed=0,
    )


class TestShared:
    def joint(self, data: xr.Dataset, rows: list[int]) -> Any:
        """Fit one frequency and the rest for each record, by SciPy."""
        each = [residuals(data.isel(trajectory=row)) for row in rows]
        truths = [truth_of(data.isel(trajectory=row)) for row in rows]

        def residual(unknowns: Any) -> Any:
            own = unknowns[1:].reshape(len(rows), 3)
            parts = [one([unknowns[0], *q]) for one, q in zip(each, own, strict=True)]
            return np.concatenate(parts)

        start = np.concatenate([truths[0][:1], *(truth[1:] for truth in truths)])
        best = by_scipy(residual, start)
        size, number = best.jac.shape
        variance = 2.0 * best.cost / (size - number)
        errors = np.sqrt(variance * np.linalg.inv(best.jac.T @ best.jac).diagonal())
        return best, errors

    def test_two_groups(self) -> None:
        data = oscillations(5).assign_coords(rig=("trajectory", list("ababa")))
        fitted = fit(OSCILLATOR, data, shared=["natural_frequency"], group="rig", noise_sd="common")
        assert (fitted["status"] == CONVERGED).all()
        for rows in ([0, 2, 4], [1, 3]):
            best, errors = self.joint(data, rows)
            for place, row in enumerate(rows):
                mine = [0, *range(1 + 3 * place, 4 + 3 * place)]
                np.testing.assert_allclose(found(fitted, row), best.x[mine], rtol=1e-5)
                one = fitted.isel(trajectory=row)
                given = [*one["standard_errors"], *one["initial_state_standard_errors"]]
                np.testing.assert_allclose(given, errors[mine], rtol=1e-5)
            total = float(fitted["sum_of_squares"][rows].sum())
            np.testing.assert_allclose(total, 2.0 * best.cost, rtol=1e-8)

    def test_one_group_of_all(self) -> None:
        data = oscillations(3)
        fitted = fit(OSCILLATOR, data, shared=["natural_frequency"], noise_sd="common")
        best, _ = self.joint(data, [0, 1, 2])
        np.testing.assert_allclose(fitted["parameters"][:, 0], best.x[0], rtol=1e-6)


def test_a_level_that_time_did_not_allow_to_settle_is_no_converged_fit() -> None:
    system, times = Pendulum(), np.linspace(0.0, 5.0, 31)
    data = simulate(system, 2, times, noise=0.02, seed=0, progress=False)
    defaults = {name: one.default for name, one in signature(wp.fit).parameters.items()}
    asked = FitOptions.from_arguments(defaults | {"loss": "huber"})
    problem = asked.problem(system, read_records(data, system))
    squared = replace(problem, distribution=as_noise("normal"))
    solved = run_block(squared, middle_start(squared), 1, Options(1e-9, 100))
    assert (solved.outcome == Outcome.CONVERGED).all()
    late = settle_level(problem, solved, Options(1e-9, 100, out_of_time=lambda: True))
    assert (late.outcome == Outcome.OUT_OF_TIME).all()


def test_a_converged_robust_fit_has_the_level_of_its_own_residuals() -> None:
    """The median of the residuals can jump between two of them from round to round for ever."""
    times = np.linspace(0.0, 10.0, 51)
    data = simulate("pendulum", 200, times, noise=0.02, seed=0, progress=False)
    fitted = wp.fit("pendulum", data, loss="huber", progress=False)
    size = abs(data["observed"] - fitted["predicted"]).transpose("trajectory", "output", "time")
    count = 2 * len(times)
    freedom = count - fitted.sizes["estimated"]
    level = 1.482602218505602 * np.median(size, axis=2) * np.sqrt(count / freedom)
    off = abs(level / fitted["noise_sd"].values - 1.0).max(axis=1)
    converged = fitted["status"].values == 0
    assert off[converged].max() < 1e-3
    assert off[~converged].min() > 1e-3
    assert set(fitted["status"].values[~converged]) == {1}
