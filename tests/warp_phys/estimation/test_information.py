"""Estimates of the information head, however records are observed and whatever is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.warp_phys.estimation.information_records import (
    COUNT,
    beginning,
    estimate,
    holds,
    over_time,
    records,
    same,
)
from tests.warp_phys.user_systems import DrivenOscillator, Saturation, Switched
from warp_phys.data_gen import log_normal
from warp_phys.systems import Dose, System
from warp_phys.systems.errors import UsageError


def uneven(seed: int = 0) -> np.ndarray[Any, Any]:
    times = np.sort(np.random.default_rng(seed).uniform(0.0, 10.0, (COUNT, 41)), axis=1)
    times[::3, 25:] = np.nan
    times[1, 5:] = np.nan
    return times


CASES: list[tuple[str, dict[str, Any]]] = [
    ("lotka_volterra", {}),
    ("lotka_volterra", {"missing": 0.3, "times": uneven()}),
    ("lotka_volterra", {"observe": ["prey"]}),
    ("pendulum", {"observe": ["angle"], "missing": 0.3}),
    ("pendulum", {"observe": ["angle"], "times": uneven()}),
    ("damped_oscillator", {"missing": 0.3, "times": np.linspace(0.0, 3.0, 41), "seed": 7}),
    ("sine", {"times": np.linspace(0.0, 1.0, 16), "noise": 0.02}),
]


class TestSamples:
    """What holds at every sample, however records are observed."""

    @pytest.fixture(scope="class", params=CASES, ids=lambda case: "-".join([case[0], *case[1]]))
    @classmethod
    def case(cls, request: pytest.FixtureRequest) -> tuple[str, xr.Dataset, xr.Dataset]:
        name, options = request.param
        data = records(name, **options)
        return name, data, estimate(name, data)

    def test_the_truth_is_inside(self, case: tuple[str, xr.Dataset, xr.Dataset]) -> None:
        holds(case[2], case[1])

    def test_no_estimate_depends_on_later_samples(
        self, case: tuple[str, xr.Dataset, xr.Dataset]
    ) -> None:
        name, data, found = case
        for samples in (1, 2, 5, 9, 14):
            shorter = estimate(name, beginning(data, samples))
            same(over_time(shorter), beginning(over_time(found), samples))

    def test_a_record_alone_is_as_in_its_batch(
        self, case: tuple[str, xr.Dataset, xr.Dataset]
    ) -> None:
        name, data, found = case
        for row in (0, 1, COUNT - 1):
            same(estimate(name, data.isel(trajectory=[row])), found.isel(trajectory=[row]))


def test_first_values_that_are_missing_or_not_positive_do_not_reach_ahead() -> None:
    data = records()
    data["observed"][0, :6, 0] = np.nan
    data["observed"][1, 0, 0] = -0.2
    data["observed"][2, :3] = np.nan
    found = estimate("lotka_volterra", data)
    for samples in (1, 3, 6, 7, 10, 20):
        shorter = estimate("lotka_volterra", beginning(data, samples))
        same(over_time(shorter), beginning(over_time(found), samples))


@pytest.mark.parametrize("system", [Switched(), DrivenOscillator()])
def test_inputs_and_tables_of_inputs(system: System) -> None:
    random = np.random.default_rng(0)
    times = np.linspace(0.0, 3.0, 31)
    inputs = {name: random.normal(size=(COUNT, 31)) for name in system.input_names}
    data = records(system, times=times, inputs=inputs, noise=0.02)
    holds(estimate(system, data), data)
    knots = np.sort(random.uniform(0.0, 3.0, (COUNT, 12)), axis=1)
    inputs = {name: random.normal(size=(COUNT, 12)) for name in system.input_names}
    data = records(system, times=times, inputs=inputs, input_times=knots, noise=0.02)
    found = estimate(system, data)
    holds(found, data)
    same(estimate(system, data.isel(trajectory=[3])), found.isel(trajectory=[3]))
    shorter = estimate(system, beginning(data, 9))
    same(over_time(shorter), beginning(over_time(found), 9))


def test_doses() -> None:
    doses = [Dose("gut", 100.0, 0.0), Dose("gut", 80.0, 12.5)]
    data = records("one_compartment_oral", times=np.linspace(0.0, 24.0, 25), doses=doses)
    found = estimate("one_compartment_oral", data)
    holds(found, data)
    shorter = estimate("one_compartment_oral", beginning(data, 9))
    same(
        over_time(shorter).drop_vars(["dose_amount", "dose_time"]),
        beginning(over_time(found), 9).drop_vars(["dose_amount", "dose_time"]),
    )


def test_every_support() -> None:
    data = records(Saturation(), noise=0.02)
    found = estimate(Saturation(), data)
    holds(found, data)
    bands = found[["parameters_lower", "parameters", "parameters_upper"]]
    lower, value, upper = (bands[name] for name in bands)
    free = [name for name in found["parameter"].values if name != "scale"]
    assert (lower < value).sel(parameter=free).all()
    assert (value < upper).sel(parameter=free).all()
    assert (value.sel(parameter="scale") == 3.0).all()
    assert (upper.sel(parameter="depth") < 0.0).all()


def test_log_normal_noise() -> None:
    data = records(distribution="lognormal", noise=0.1, missing=0.3, seed=4)
    found = estimate("lotka_volterra", data, distribution="lognormal")
    holds(found, data)
    np.testing.assert_allclose(found["noise_sd"][:, -1], 0.1, rtol=0.5)
    wrong = data.copy(deep=True)
    wrong["observed"][0, 5, 0] = -1.0  # a value that has no logarithm counts as missing
    data["observed"][0, 5, 0] = np.nan
    one, other = (estimate("lotka_volterra", d, distribution="lognormal") for d in (wrong, data))
    same(one, other)


def test_a_sensor_may_send_values_that_the_noise_rules_out() -> None:
    data = records(n=1, distribution="lognormal", noise=0.1).isel(time=slice(0, 14))
    data["observed"][0, 5, 0] = -1.0
    model = wp.WarpPhys("lotka_volterra", distribution="lognormal")
    expected = wp.estimate(model, data, progress=False)
    state = model.init_state()
    for time, values in zip(data["time"].values, data["observed"].values[0], strict=True):
        state, now = model.step(state, time, values[None])
    # Each integrates in steps of its own.
    np.testing.assert_allclose(now.parameters[0], expected["parameters"][0, -1], rtol=1e-7)


def test_known_levels_by_output_and_as_an_array() -> None:
    data = records(noise={"prey": 0.5, "predator": 0.2})
    data["observed"][:, -1, 0] = np.nan
    by_name = estimate("lotka_volterra", data, noise_sd={"prey": 0.5, "predator": 0.2})
    holds(by_name, data)
    same(estimate("lotka_volterra", data, noise_sd=np.array([0.5, 0.2])), by_name)
    table = np.broadcast_to([0.5, 0.2], (COUNT, 2))
    same(estimate("lotka_volterra", data, noise_sd=table), by_name)
    # The level is known where no value is, too.
    assert (by_name["noise_sd"] == xr.DataArray([0.5, 0.2], dims="output")).all()
    assert "noise_sd" not in by_name["unknown_kind"]


def test_a_common_level() -> None:
    data = records(noise={"prey": 0.3, "predator": 0.3})
    found = estimate("lotka_volterra", data, noise_sd="common")
    holds(found, data)
    assert (found["noise_sd"][..., 0] == found["noise_sd"][..., 1]).all()
    np.testing.assert_allclose(found["noise_sd"][:, -1], 0.3, rtol=0.4)


def test_outliers_under_the_huber_loss() -> None:
    data = records(n=300, times=np.linspace(0.0, 10.0, 43), noise=0.02, seed=5)
    random = np.random.default_rng(1)
    level = data["true_noise_sd"].values[:, None]
    hit = random.uniform(size=data["observed"].shape) < 0.02
    data["observed"].values[...] += 20.0 * level * hit * random.choice([-1, 1], size=hit.shape)
    found = estimate("lotka_volterra", data, loss="huber")
    truth = data["true_parameters"]
    inside = (found["parameters_lower"] <= truth) & (truth <= found["parameters_upper"])
    assert float(inside[:, -1].mean()) > 0.85
    # Outliers are no change of the system.
    assert float((found["described"][:, -1] == 0).mean()) <= 0.05
    np.testing.assert_allclose(
        found["noise_sd"][:, -1].mean("trajectory"), level.mean((0, 1)), rtol=0.2
    )


def test_known_and_partly_known_initial_states() -> None:
    data = records(initial_states={"prey": 12.0, "predator": (5.0, 15.0)})
    partly = estimate("lotka_volterra", data, initial_state={"prey": 12.0})
    holds(partly, data)
    assert (partly["initial_state"].sel(state="prey") == 12.0).all()
    assert list(partly["unknown"].values).count("prey") == 1  # its noise level alone
    truth = data["true_initial_state"].values
    both = {"prey": truth[:, 0], "predator": truth[:, 1]}
    known = estimate("lotka_volterra", data, initial_state=both)
    holds(known, data)
    np.testing.assert_array_equal(known["initial_state"][:, 7], truth)
    nothing = estimate("lotka_volterra", data, initial_state="estimate")
    widths = [
        (each["parameters_upper"] - each["parameters_lower"])[:, -1].mean()
        for each in (known, partly, nothing)
    ]
    assert widths[0] < widths[1] < widths[2]


def test_fixed_parameters() -> None:
    data = records()
    truth = data["true_parameters"]
    alpha = truth.sel(parameter="alpha").values
    found = estimate("lotka_volterra", data, fixed={"alpha": alpha, "gamma": truth[:, 2]})
    np.testing.assert_array_equal(found["parameters"][:, 3, 0], alpha)
    np.testing.assert_array_equal(found["parameters_upper"][:, 3, 0], alpha)
    holds(found, data)
    assert list(found["unknown"].values[:2]) == ["beta", "delta"]
    one = estimate("lotka_volterra", data.isel(trajectory=[2]), fixed={"alpha": float(alpha[2])})
    two = estimate("lotka_volterra", data.isel(trajectory=[2]), fixed={"alpha": alpha[2:3]})
    same(one, two)
    with pytest.raises(UsageError, match="outside its support"):
        estimate("lotka_volterra", data, fixed={"alpha": -1.0})


def test_a_record_without_values_has_the_prior() -> None:
    data = records()
    whole = estimate("lotka_volterra", data, priors={"alpha": log_normal(0.6, 0.2)})
    data["observed"][2] = np.nan
    found = estimate("lotka_volterra", data, priors={"alpha": log_normal(0.6, 0.2)})
    others = [0, 1, 3, 4, 5]
    same(found.isel(trajectory=others), whole.isel(trajectory=others))
    empty = found.isel(trajectory=2)
    np.testing.assert_allclose(empty["parameters"][:, 0], 0.6, rtol=1e-3)
    spread = np.log(empty["parameters_upper"] / empty["parameters_lower"])[:, 0] / 2.0
    np.testing.assert_allclose(spread, 1.645 * 0.2, rtol=5e-3)
    assert int(empty["out_of_range"]) == 0
    assert (empty["described"] == 1).all()
