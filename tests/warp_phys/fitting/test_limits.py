"""Fits of values of which some are only known to be below or above a limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import optimize, stats

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems.errors import SchemaError, UsageError

TIMES = np.linspace(0.0, 8.0, 33)


def logistic(n: int, limits: dict[str, Any] | None = None, **more: Any) -> xr.Dataset:
    return simulate(
        "logistic_growth",
        n=n,
        times=TIMES,
        parameters={"growth": 1.0, "capacity": 60.0},
        initial_states={"population": (3.0, 3.001)},
        noise={"population": 2.0},
        limits=limits,
        seed=2,
        **more,
    )


def test_simulated_limits_change_nothing_else() -> None:
    whole, limited = logistic(3), logistic(3, {"population": (10.0, 61.0)})
    flags = limited["censored"]
    assert flags.attrs["flag_meanings"] == "measured below above"
    xr.testing.assert_equal(
        whole["observed"].clip(10.0, 61.0).variable, limited["observed"].variable
    )
    assert ((flags == 1) == (whole["observed"] < 10.0)).all()
    assert ((flags == 2) == (whole["observed"] > 61.0)).all()


@pytest.mark.parametrize(
    ("limits", "distribution", "text"),
    [
        ({"population": (2.0, 1.0)}, "normal", "low < high"),
        ({"population": 2.0}, "normal", "low < high"),
        ({"prey": (2.0, None)}, "normal", "prey"),
        ({"population": (2.0, None)}, "poisson", "Poisson noise of 'population' cannot"),
    ],
)
def test_limits_that_make_no_sense(limits: Any, distribution: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        simulate("logistic_growth", 1, TIMES, limits=limits, distribution=distribution, seed=0)


@pytest.mark.parametrize("limits", [(10.0, None), (None, 55.0), (10.0, 61.0)])
def test_the_fit_maximizes_the_likelihood_of_what_is_known(limits: Any) -> None:
    data = logistic(1, {"population": limits})
    fitted = wp.fit("logistic_growth", data, progress=False)
    y, flags = data["observed"].values[0, :, 0], data["censored"].values[0, :, 0]

    def loss(line: Any) -> float:
        growth, capacity, start, level = np.exp(line)
        f = capacity / (1.0 + (capacity / start - 1.0) * np.exp(-growth * TIMES))
        log = stats.norm.logpdf(y, f, level)
        log = np.where(flags == 1, stats.norm.logcdf(y, f, level), log)
        return -float(np.where(flags == 2, stats.norm.logsf(y, f, level), log).sum())

    assert int(fitted["status"][0]) == 0
    one = fitted.isel(trajectory=0)
    level = one["noise_parameters"].values
    np.testing.assert_allclose(level, one["noise_sd"])
    parameters = one["parameters"].sel(parameter=["growth", "capacity"]).values
    found = np.log(np.concatenate([parameters, one["initial_state"].values, level]))
    np.testing.assert_allclose(one["log_likelihood"], -loss(found), rtol=1e-8)
    best = optimize.minimize(loss, found + 0.02, method="BFGS", options={"gtol": 1e-6})
    assert -best.fun <= float(one["log_likelihood"]) + 1e-7
    np.testing.assert_allclose(found, best.x, atol=1e-3)


def test_limits_taken_for_values_would_bias_the_fit() -> None:
    data = logistic(20, {"population": (20.0, None)})
    right = wp.fit("logistic_growth", data, progress=False)
    wrong = wp.fit("logistic_growth", data.drop_vars("censored"), progress=False)
    growth = [
        float(fitted["parameters"].sel(parameter="growth").mean()) for fitted in (right, wrong)
    ]
    assert abs(growth[0] - 1.0) < 0.03
    assert abs(growth[1] - 1.0) > 0.1
    error = float(right["standard_errors"].sel(parameter="growth").mean())
    spread = float(right["parameters"].sel(parameter="growth").std())
    assert 0.6 < spread / error < 1.6


def test_a_known_level_and_lognormal_noise() -> None:
    data = simulate(
        "logistic_growth",
        2,
        TIMES,
        noise=0.2,
        distribution="lognormal",
        limits={"population": (20.0, None)},
        seed=1,
    )
    each = wp.fit("logistic_growth", data, distribution="lognormal", progress=False)
    known = wp.fit(
        "logistic_growth",
        data,
        distribution="lognormal",
        noise_sd={"population": 0.2},
        progress=False,
    )
    for fitted in (each, known):
        assert (fitted["status"] == 0).all()
    assert "noise_parameters" not in known
    assert (abs(each["noise_sd"] / 0.2 - 1.0) < 0.4).all()


def test_a_censored_value_needs_a_limit() -> None:
    data = logistic(2, {"population": (20.0, None)}).copy(deep=True)
    data["observed"][1, 0, 0] = np.nan
    with pytest.raises(UsageError, match="sample 0 of trajectory 1, but 'observed' has no limit"):
        wp.fit("logistic_growth", data, progress=False)
    data["censored"][0, 3, 0] = 5
    with pytest.raises(SchemaError, match=r"got 5 for population at sample 3 of trajectory 0"):
        wp.fit("logistic_growth", data, progress=False)


@pytest.mark.parametrize("distribution", ["poisson", "student_t"])
def test_noise_without_limits_is_refused(distribution: str) -> None:
    data = logistic(2, {"population": (20.0, None)})
    with pytest.raises(UsageError, match=r"population is censored at sample 0 of trajectory 0"):
        wp.fit("logistic_growth", data, distribution=distribution, progress=False)


def test_a_model_does_not_take_limits_for_values() -> None:
    data = logistic(1, {"population": (20.0, None)})
    with pytest.raises(UsageError, match=r"values of the records are censored, which only fit"):
        wp.estimate(wp.WarpPhys("logistic_growth"), data)
