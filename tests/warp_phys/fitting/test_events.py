"""Fits and estimates of systems with events, and of doses with a lag time and a duration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.optimize import least_squares

import warp_phys as wp
from tests.systems.dosing_systems import DOSES, GIVEN, Infused, infused
from tests.systems.event_systems import CASES, Ball, EventCase
from tests.warp_phys.fitting.fit_records import fit
from warp_phys.data_gen import simulate
from warp_phys.systems import UsageError
from warp_phys.systems.compiling.compiler import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")

BALL, NEURON, THERMOSTAT = CASES[:3]
LET_GO = {"height": 2.0, "speed": 0.0}


def balls(n: int, **options: Any) -> xr.Dataset:
    """Heights of balls that still bounce at the end."""
    ranges = {"g": (7.0, 12.0), "restitution": (0.75, 0.95)}
    given = {"noise": 0.02, "seed": 1, "initial_states": LET_GO, "parameters": ranges} | options
    return simulate(Ball(), n, BALL.times, observe=["height"], **given)


@pytest.mark.parametrize(
    "case",
    [BALL, *(pytest.param(case, marks=pytest.mark.long) for case in (NEURON, THERMOSTAT))],
    ids=lambda case: case.name,
)
def test_optimum_and_standard_errors_are_those_of_scipy(case: EventCase) -> None:
    name = case.system.state_names[0]
    truth = case.states(case.values)[:, 0]
    sd = 0.02 * truth.std()
    observed = truth + sd * np.random.default_rng(0).standard_normal(truth.shape)
    data = xr.Dataset(
        {"observed": (("trajectory", "time", "output"), observed[None, :, None])},
        coords={"time": case.times, "output": [name]},
    )
    fitted = fit(
        case.system,
        data,
        initial={
            parameter: 1.01 * value
            for parameter, value in zip(case.system.parameter_names, case.values, strict=True)
        },
        initial_state=dict(case.system.default_initial_state),
        noise_sd={name: sd},
    )
    assert int(fitted.status[0]) == 0

    def residuals(values: np.ndarray) -> np.ndarray:
        return (case.states(values)[:, 0] - observed) / sd

    # The optimum of SciPy's residuals is one step of Gauss and Newton away, and none is left.
    best = fitted.parameters.values[0]
    columns = []
    for place, value in enumerate(best):
        step = np.zeros(len(best))
        step[place] = 1e-5 * value
        columns.append((residuals(best + step) - residuals(best - step)) / (2e-5 * value))
    jacobian = np.stack(columns, axis=1)
    covariance = np.linalg.inv(jacobian.T @ jacobian)
    errors = np.sqrt(np.diag(covariance))
    left = covariance @ jacobian.T @ residuals(best)
    np.testing.assert_allclose(left / errors, 0.0, atol=1e-4)
    np.testing.assert_allclose(fitted.standard_errors[0], errors, rtol=1e-4)


def test_the_truth_comes_back_from_the_middle_of_the_ranges() -> None:
    data = balls(8)
    fitted = fit(Ball(), data, initial_state=LET_GO)
    assert not fitted.status.any()
    apart = (fitted.parameters - data.true_parameters) / fitted.standard_errors
    assert float(np.abs(apart).max()) < 4.0


def test_many_records_share_a_parameter_and_know_another() -> None:
    data = balls(4, parameters={"g": 9.81, "restitution": (0.75, 0.95)})
    shared = fit(Ball(), data, initial_state=LET_GO, shared=["g"])
    assert not shared.status.any()
    g = shared.parameters.sel(parameter="g")
    assert float(g.std()) < 1e-12
    error = float(shared.standard_errors.sel(parameter="g")[0])
    assert abs(float(g[0]) - 9.81) < 4.0 * error
    known = fit(Ball(), data, initial_state=LET_GO, fixed={"g": 9.81})
    alone = fit(Ball(), data.isel(trajectory=[2]), initial_state=LET_GO, fixed={"g": 9.81})
    np.testing.assert_allclose(known.parameters[2], alone.parameters[0], rtol=1e-12)


def test_the_height_from_which_the_ball_was_let_go_is_estimated() -> None:
    data = balls(3)
    fitted = fit(Ball(), data, initial_state={"speed": 0.0})
    assert not fitted.status.any()
    errors = fitted.initial_state_standard_errors.sel(state="height")
    apart = (fitted.initial_state.sel(state="height") - 2.0) / errors
    assert float(np.abs(apart).max()) < 4.0


def test_bounces_without_end_are_named() -> None:
    initial = {"g": 9.81, "restitution": 0.3}
    fitted = fit(Ball(), balls(1), initial=initial, initial_state=LET_GO, max_iterations=0)
    assert int(fitted.status[0]) != 0
    assert "events followed each other without end" in str(fitted.failure.values[0])


def blank(output: str, **more: Any) -> xr.Dataset:
    data = xr.Dataset(
        {"observed": (("trajectory", "time", "output"), np.ones((1, 3, 1)))},
        coords={"time": np.arange(3.0), "output": [output]},
    )
    return data.assign(more)


def test_fits_without_a_compiler_refuse_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
    with pytest.raises(UsageError, match=r"ball has events.* but there is no C\+\+ compiler"):
        fit(Ball(), blank("height"), initial_state=LET_GO)
    dose = {
        "dose_amount": (("trajectory", "dose"), [[5.0]]),
        "dose_time": (("trajectory", "dose"), [[0.5]]),
    }
    data = blank("amount", **dose).assign_coords(dose_state=("dose", ["amount"]))
    with pytest.raises(UsageError, match=r"infused jumps where .* lag time of a dose"):
        fit(Infused(rate=0.2, duration=1.0, share=0.5), data, initial_state={"amount": 0.0})


class Branching(Ball):
    """A ball whose right-hand side is not plain arithmetic."""

    def rhs(self, t: Any, y: Any, p: Any) -> tuple[Any, Any]:
        return y[1], -p.g if float(y[1].sum()) < 1e9 else y[0]


def test_functions_that_cannot_be_translated_are_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"are not plain arithmetic: Branching.rhs"):
        fit(Branching(), blank("height"), initial_state=LET_GO)


def test_there_is_no_steady_start_with_events() -> None:
    with pytest.raises(UsageError, match="a state at which nothing moves, and ball has events"):
        fit(Ball(), balls(1), initial_state="steady_state")


def infusions(n: int, noise: float = 0.02) -> xr.Dataset:
    times = np.linspace(0.0, 24.0, 33)
    return simulate(
        Infused(), n, times, doses=GIVEN, initial_states={"amount": 0.0}, noise=noise, seed=2
    )


def test_simulated_infusions_are_those_of_the_closed_form() -> None:
    data = infusions(3, 0.0)
    for row in range(3):
        expected = infused(data.time.values, data.true_parameters.values[row], DOSES)
        np.testing.assert_allclose(data.noiseless[row, :, 0], expected, atol=1e-6)


def test_lag_time_and_duration_are_fitted_as_by_scipy() -> None:
    data = infusions(2)
    fitted = fit(Infused(), data, initial_state={"amount": 0.0})
    assert not fitted.status.any()
    times = data.time.values
    for row in range(2):
        observed = data.observed.values[row, :, 0]
        best = least_squares(
            lambda p, seen=observed: infused(times, p, DOSES) - seen,
            fitted.parameters[row],
            x_scale="jac",
            jac="3-point",
        )
        level = 2.0 * best.cost / (len(times) - 4)
        errors = np.sqrt(np.diag(np.linalg.inv(best.jac.T @ best.jac)) * level)
        np.testing.assert_allclose((fitted.parameters[row] - best.x) / errors, 0.0, atol=1e-4)
        np.testing.assert_allclose(fitted.standard_errors[row], errors, rtol=1e-4)
    forecast = wp.forecast(fitted, np.array([30.0]), system=Infused())
    expected = infused(np.array([30.0]), fitted.parameters.values[0], DOSES)
    np.testing.assert_allclose(forecast.predicted[0, :, 0], expected, rtol=1e-3)


def test_unknown_parameters_of_the_noise_stand_beside_the_doses() -> None:
    """With priors the level of the noise is an unknown of its own, behind the parameters."""
    data = infusions(1)
    plain = fit(Infused(), data, initial_state={"amount": 0.0})
    wide = {"rate": stats.lognorm(s=3.0, scale=0.2)}
    prior = fit(Infused(), data, initial_state={"amount": 0.0}, priors=wide)
    assert int(prior.status[0]) == 0
    apart = (prior.parameters - plain.parameters) / plain.standard_errors
    assert float(np.abs(apart).max()) < 0.1
    assert float(prior.noise_sd[0, 0]) == pytest.approx(float(plain.noise_sd[0, 0]), rel=0.2)
