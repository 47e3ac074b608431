"""Estimates of the information head under every condition of a record."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.systems.noise.poisson import Poisson
from tests.warp_phys.estimation.cut_records import beginning, over_time, same
from tests.warp_phys.user_systems import DrivenOscillator, Saturation, Switched
from warp_phys.data_gen import log_normal, simulate
from warp_phys.systems import Dose, Parameter, State, System
from warp_phys.systems.errors import UsageError

TIMES = np.linspace(0.0, 10.0, 41)
COUNT = 6
USUAL = {"alpha": 0.7, "beta": 0.06, "gamma": 0.8, "delta": 0.05}
STATES = {"prey": (9.0, 12.0), "predator": (6.0, 9.0)}


def records(system: System | str = "lotka_volterra", n: int = COUNT, **options: Any) -> xr.Dataset:
    known: dict[str, Any] = {"times": TIMES, "noise": 0.05, "seed": 3}
    return simulate(system, n, progress=False, **(known | options))


def estimate(system: System | str, data: xr.Dataset, **options: Any) -> xr.Dataset:
    return wp.estimate(wp.WarpPhys(system, **options), data, progress=False)


def uneven(seed: int = 0) -> np.ndarray[Any, Any]:
    times = np.sort(np.random.default_rng(seed).uniform(0.0, 10.0, (COUNT, 41)), axis=1)
    times[::3, 25:] = np.nan
    times[1, 5:] = np.nan
    return times


def holds(found: xr.Dataset, data: xr.Dataset, factor: float = 6.0) -> None:
    """The truth is within a few standard deviations, and these are small, at the last samples."""
    # Half widths of 90 % bands are 1.64 standard deviations and more.
    last = np.isfinite(found["parameters"].values).all(axis=2).sum(axis=1) - 1
    rows = np.arange(len(last))
    names = list(found["parameter"].values)
    truth = data["true_parameters"].sel(parameter=names).values
    value = found["parameters"].values[rows, last]
    half = (found["parameters_upper"] - found["parameters_lower"]).values[rows, last] / 2.0
    assert (abs(value - truth) <= factor / 1.64 * half + 1e-9 * abs(truth)).all()
    assert (found["out_of_range"] == 0).all()
    assert (found["described"] == 1).all()
    assert found["changed_at"].isnull().all()


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


class Explosion(System):
    """x' = a x^2, which is infinite at 1 / (a x(0))."""

    time_unit = "s"
    states = (State("x", "m"),)
    parameters = (Parameter("a", "1", "positive", (0.5, 2.0)),)

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return (p.a * y[0] ** 2,)


def test_a_record_that_cannot_be_integrated_is_flagged_alone() -> None:
    times = np.linspace(0.0, 1.0, 21)
    states = np.full(COUNT, 0.3)
    data = records(Explosion(), times=times, initial_states={"x": 0.3}, noise=0.01)
    expected = estimate(Explosion(), data, initial_state={"x": states})
    for state in (1e3, np.nan):
        states[4] = state
        found = estimate(Explosion(), data, initial_state={"x": states})
        others = [0, 1, 2, 3, 5]
        same(found.isel(trajectory=others), expected.isel(trajectory=others))
        assert (found["estimate_status"][4, 1:] & 1 == 1).all()
        assert found["out_of_range"].values.tolist() == [0, 0, 0, 0, 64, 0]


def test_one_sample() -> None:
    data = records().isel(time=[0])
    found = estimate("lotka_volterra", data)
    # Both states were measured, and nothing else is known.
    np.testing.assert_allclose(found["initial_state"][:, 0], data["observed"][:, 0], rtol=0.1)
    assert (found["parameters"] == found["parameters"][0]).all()
    assert (found["out_of_range"] == 0).all()


@pytest.mark.parametrize("value", [0.0, 1.0, 1e30])
def test_constant_outputs_give_numbers(value: float) -> None:
    data = records(n=2)
    data["observed"][:] = value
    found = estimate("lotka_volterra", data)
    for name in ("parameters", "parameters_lower", "parameters_upper", "noise_sd"):
        assert np.isfinite(found[name]).all(), name
    assert (found["noise_sd"] > 0.0).all()


def test_without_noise_a_record_is_described() -> None:
    data = records(noise=0.0)
    found = estimate("lotka_volterra", data)
    np.testing.assert_allclose(found["parameters"][:, -1], data["true_parameters"], rtol=1e-5)
    assert (found["described"] == 1).all()
    assert (found["out_of_range"] == 0).all()


def test_a_stiff_system_ends_with_a_status() -> None:
    times = np.array([0.0, *np.logspace(-4.0, 1.0, 9)])
    data = records("robertson", n=2, times=times, noise=0.01)
    found = estimate("robertson", data)
    assert np.isfinite(found["parameters"]).all()
    assert np.isfinite(found["out_of_range"]).all()


class TestOutOfRange:
    def test_gaps_and_uneven_times_set_no_bit(self) -> None:
        random = np.random.default_rng(0)
        times = np.linspace(0.0, 10.0, 41) + random.uniform(-0.07, 0.07, (60, 41))
        data = records(n=60, times=times, missing=0.3, noise=0.02)
        found = estimate("lotka_volterra", data)
        assert float((found["out_of_range"] != 0).mean()) <= 0.02

    @pytest.mark.parametrize(
        ("name", "duration"),
        [("seir", 60.0), ("coupled_oscillators", 5.0), ("michaelis_menten", 10.0)],
    )
    def test_many_outputs_set_no_bit(self, name: str, duration: float) -> None:
        """Levels of four and more outputs have few degrees of freedom at first."""
        times = np.linspace(0.0, duration, 31)
        found = estimate(name, records(name, n=150, times=times, noise=0.02))
        assert float((found["out_of_range"] != 0).mean()) <= 0.02

    def test_far_from_the_prior(self) -> None:
        data = records(parameters=USUAL, initial_states=STATES, noise=0.02)
        far = estimate("lotka_volterra", data, priors={"alpha": log_normal(1.4, 0.1)})
        assert (far["out_of_range"] == 16).all()
        near = estimate("lotka_volterra", data, priors={"alpha": log_normal(0.9, 0.1)})
        assert (near["out_of_range"] == 0).all()
        impossible = estimate("lotka_volterra", data, priors={"alpha": log_normal(20.0, 0.1)})
        assert (impossible["out_of_range"] & (16 | 32) != 0).all()

    def test_a_jump_is_noticed_where_it_is(self) -> None:
        times = np.linspace(0.0, 10.0, 101)
        ranges = {name: (0.8 * value, 1.2 * value) for name, value in USUAL.items()}
        data = records(n=60, times=times, parameters=ranges, initial_states=STATES, noise=0.02)
        truth = data["true_parameters"].values.copy()
        truth[:, 0] *= 1.5
        state = data["noiseless"].values[:, 50]
        after = records(n=60, times=times[:51], parameters=truth, initial_states=state, noise=0.0)
        error = (data["observed"] - data["noiseless"]).values
        data["observed"][:, 50:] = after["noiseless"].values + error[:, 50:]
        found = estimate("lotka_volterra", data)
        changed = found["changed_at"].values
        assert np.mean(np.isfinite(changed)) > 0.95
        assert abs(np.nanmedian(changed) - 5.0) < 1.0
        misfit = found["out_of_range"] & 32 == 32
        np.testing.assert_array_equal(misfit, np.isfinite(changed))
        np.testing.assert_array_equal(found["described"][:, -1] == 0, misfit)
        # What is said of a sample says when: from a sample shortly after the change on.
        first = (found["described"].values == 0).argmax(axis=1)[misfit]
        assert (times[first] >= changed[misfit]).all()

    def test_what_follows_a_record_says_nothing_of_it(self) -> None:
        """A record that has ended is linearized anew with others, and stays as it was."""
        times = np.broadcast_to(TIMES, (30, 41)).copy()
        times[1::2, 20:] = np.nan
        data = records(n=30, times=times)
        data["observed"][:, 15:] *= 1.3
        found = estimate("lotka_volterra", data)
        last = np.isfinite(times).sum(axis=1) - 1
        described = found["described"].values[np.arange(30), last] == 1
        np.testing.assert_array_equal(np.isnan(found["changed_at"]), described)
        np.testing.assert_array_equal(found["out_of_range"].values & 32 == 0, described)
        assert not described.all()


@lru_cache
def trained_start() -> wp.WarpPhys:
    """Return a trained model; tests must leave it as it is."""
    model = wp.WarpPhys("lotka_volterra", head="direct", window=4, width=8)
    wp.train(model, records(n=200), records(n=110, seed=9), steps=2, progress=False)
    return model


def test_saved_models_estimate_to_the_same_bits(tmp_path: Path) -> None:
    data = records()
    model = wp.WarpPhys(
        "lotka_volterra",
        priors={"alpha": log_normal(0.6, 0.5), "noise_sd(prey)": log_normal(0.5, 1.0)},
        start=trained_start(),
        initial_state={"predator": data["true_initial_state"].values[0, 1]},
        fixed={"delta": 0.05},
        loss="huber",
    )
    model.save(tmp_path / "model.safetensors")
    again = wp.WarpPhys.load(tmp_path / "model.safetensors")
    one, other = (wp.estimate(each, data, progress=False) for each in (model, again))
    for name in one.data_vars:
        assert one[name].equals(other[name]), name
    assert repr(again) == repr(model)


def test_a_trained_start_does_not_reach_ahead() -> None:
    data, start = records(missing=0.1), trained_start()
    found = estimate("lotka_volterra", data, start=start)
    holds(found, data)
    for samples in (5, 12):
        shorter = estimate("lotka_volterra", beginning(data, samples), start=start)
        same(over_time(shorter), beginning(over_time(found), samples))


def test_a_forecast_goes_on_from_any_sample() -> None:
    data = records(noise=0.02)
    found = estimate("lotka_volterra", data)
    later = TIMES[-5:]
    for samples in (20, 36, 41):
        cut = beginning(found, samples)
        ahead = wp.forecast(cut, later, draws=200, seed=0, progress=False)
        truth = data["noiseless"].isel(time=slice(-5, None)).values
        inside = (ahead["predicted_lower"] <= truth) & (truth <= ahead["predicted_upper"])
        assert float(inside.mean()) > 0.7
        scale = np.abs(truth).max(axis=(1, 2), keepdims=True)
        assert np.median(np.abs(ahead["predicted"].values - truth) / scale) < 0.05


def test_a_fit_starts_from_it() -> None:
    data = records()
    found = estimate("lotka_volterra", data)
    whole = wp.fit("lotka_volterra", data, progress=False)
    started = wp.fit("lotka_volterra", data, initial=found, progress=False)
    np.testing.assert_allclose(started["parameters"], whole["parameters"], rtol=1e-4)
    assert float(started["iterations"].sum()) < float(whole["iterations"].sum())


def test_a_start_must_read_the_records() -> None:
    with pytest.raises(UsageError, match="expected start as a trained WarpPhys"):
        wp.WarpPhys("lotka_volterra", start=3)  # type: ignore[arg-type]
    start = wp.WarpPhys("lotka_volterra", head="regression")
    found = estimate("lotka_volterra", records(), start=start)
    holds(found, records())
    with pytest.raises(UsageError, match="start reads the outputs prey, predator"):
        estimate("lotka_volterra", records(observe=["prey"]), start=start)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_sd": {"prey": 0.1}}, "predator"),
        ({"noise_sd": -1.0}, "positive standard deviations"),
        ({"distribution": Poisson()}, "use fit"),
        ({"fixed": {"alfa": 1.0}}, "alpha"),
        ({"fixed": 1.0}, "mapping"),
        ({"initial_state": {"wolf": 1.0}}, "predator"),
        ({"initial_state": "somewhere"}, "first_sample"),
        ({"fixed": {"alpha": 1.0}, "priors": {"alpha": log_normal(1.0, 0.1)}}, "is known"),
        ({"initial_state": {"prey": 1.0}, "priors": {"prey(0)": log_normal(1.0, 0.1)}}, "is known"),
        ({"noise_sd": 0.1, "priors": {"noise_sd": log_normal(1.0, 0.1)}}, "is known"),
        ({"loss": "absolute"}, "huber"),
        ({"fixed": {"alpha": np.ones(5)}}, "one number or 6"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        estimate("lotka_volterra", records(), **options)
