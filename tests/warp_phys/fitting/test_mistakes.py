"""Wrong arguments of `fit`: what was expected, what came, how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.warp_phys.user_systems import DrivenOscillator
from warp_phys.data_gen import simulate
from warp_phys.systems import (
    DampedOscillator,
    LotkaVolterra,
    Pendulum,
    SchemaError,
    Sine,
    System,
    UnknownNameError,
    UsageError,
    WarpPhysError,
)

SYSTEM = LotkaVolterra()
DATA = simulate(SYSTEM, 3, np.arange(2.0, 8.0), noise=0.1, seed=0)
EVERYTHING = dict.fromkeys(SYSTEM.parameter_names, 0.5)


def records() -> xr.Dataset:
    return DATA.copy(deep=True)


def says(error: type[WarpPhysError], message: str, action: Callable[[], Any]) -> None:
    """Expect an error of the package whose text is one line and holds the message."""
    with pytest.raises(error) as caught:
        action()
    text = str(caught.value)
    assert message in text
    assert "\n" not in text


def refuses(
    error: type[WarpPhysError],
    message: str,
    data: xr.Dataset | None = None,
    system: System = SYSTEM,
    **options: Any,
) -> None:
    given = records() if data is None else data
    says(error, message, lambda: wp.fit(system, given, progress=False, **options))


class TestNames:
    @pytest.mark.parametrize("argument", ["fixed", "bounds", "initial"])
    def test_an_unknown_parameter(self, argument: str) -> None:
        value: Any = (0.1, 1.0) if argument == "bounds" else 0.5
        kind = "parameter" if argument == "fixed" else "parameter or state"
        message = f"unknown {kind} of lotka_volterra 'gama'; did you mean 'gamma'"
        refuses(UnknownNameError, message, **{argument: {"gama": value}})

    def test_an_unknown_state(self) -> None:
        message = "unknown state of lotka_volterra 'prei'; did you mean 'prey'"
        refuses(UnknownNameError, message, initial_state={"prei": 1.0})

    def test_a_state_is_not_fixed_but_known(self) -> None:
        refuses(UnknownNameError, "unknown parameter of lotka_volterra 'prey'", fixed={"prey": 1.0})

    def test_an_unknown_output(self) -> None:
        message = "unknown observed output 'lynx'; known: prey, predator"
        refuses(UnknownNameError, message, noise_sd={"lynx": 1.0, "prey": 1.0})

    def test_an_unknown_coordinate(self) -> None:
        message = "unknown coordinate of the data set 'rigg'; did you mean 'rig'"
        data = records().assign_coords(rig=("trajectory", [0, 0, 1]))
        refuses(UnknownNameError, message, data, shared=["alpha"], group="rigg")

    def test_an_unknown_shared_parameter(self) -> None:
        message = "unknown parameter or state of lotka_volterra 'alfa'; did you mean 'alpha'"
        refuses(UnknownNameError, message, shared=["alfa"])
        refuses(UnknownNameError, message, shared="alfa")

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("loss", "hubert", "unknown loss 'hubert'; did you mean 'huber'"),
            (
                "distribution",
                "log-normal",
                "unknown distribution 'log-normal'; did you mean 'lognormal' or 'normal'",
            ),
        ],
    )
    def test_an_unknown_choice(self, name: str, value: str, message: str) -> None:
        refuses(UnknownNameError, message, **{name: value})

    def test_an_unknown_system(self) -> None:
        message = "unknown system 'lotka_voltera'; did you mean 'lotka_volterra'"
        says(UnknownNameError, message, lambda: wp.fit("lotka_voltera", records()))


class TestKnownValues:
    def test_the_wrong_number(self) -> None:
        message = (
            "expected fixed['alpha'] as one number or 3, one for each trajectory; got shape (2,)"
        )
        refuses(UsageError, message, fixed={"alpha": [0.5, 0.6]})
        message = "expected initial_state['prey'] as one number or 3, one for each trajectory"
        refuses(UsageError, message, initial_state={"prey": np.ones((3, 1))})

    def test_not_a_number(self) -> None:
        message = "unknown coordinate of the data set 'half'"
        refuses(UnknownNameError, message, fixed={"alpha": "half"})
        message = "expected fixed['alpha'] as a number or an array, got {'half'}"
        refuses(UsageError, message, fixed={"alpha": {"half"}})

    def test_not_a_mapping(self) -> None:
        message = "expected fixed as a mapping from name to value, got ['alpha']"
        refuses(UsageError, message, fixed=["alpha"])

    @pytest.mark.parametrize("value", [-0.5, [0.5, -0.5, 0.5], np.nan])
    def test_outside_the_support(self, value: Any) -> None:
        row = 1 if isinstance(value, list) else 0
        number = "nan" if value is np.nan else "-0.5"
        message = (
            f"fixed['alpha'] of trajectory {row} is {number} 1/year, outside its support (positive)"
        )
        refuses(UsageError, message, fixed={"alpha": value})

    def test_nothing_left_to_fit(self) -> None:
        message = "nothing is left to fit: every parameter and initial state of lotka_volterra"
        state = {"prey": 1.0, "predator": 1.0}
        refuses(UsageError, message, fixed=EVERYTHING, initial_state=state)

    def test_bounds(self) -> None:
        message = (
            "expected bounds['alpha'] as (low, high) with low < high inside the support "
            "(positive), got "
        )
        for pair in ((1.0, 0.5), (-2.0, -1.0), (1.0, 1.0), (1.0,), 3.0, ("low", 2.0)):
            refuses(UsageError, message + repr(pair), bounds={"alpha": pair})


class TestInitialState:
    def test_an_unknown_word(self) -> None:
        message = (
            'expected initial_state as "auto", "first_sample", "steady_state", "estimate" or a '
            "mapping from state to number or array, got 'first'"
        )
        refuses(UsageError, message, initial_state="first")

    def test_first_sample_of_an_unobserved_state(self) -> None:
        data = simulate(Pendulum(), 2, np.arange(6.0), observe=["angle"], seed=0)
        message = (
            'initial_state="first_sample" needs every state of pendulum observed, '
            'angular_velocity is not; use "estimate"'
        )
        refuses(UsageError, message, data, Pendulum(), initial_state="first_sample")

    def test_first_sample_of_other_outputs(self) -> None:
        data = simulate(Sine(), 2, np.arange(0.0, 1.0, 0.1), seed=0)
        message = 'initial_state="first_sample" needs every state of sine observed'
        refuses(UsageError, message, data, Sine(), initial_state="first_sample")

    def test_one_that_follows_from_parameters(self) -> None:
        data = simulate(Sine(), 2, np.arange(0.0, 1.0, 0.1), seed=0)
        message = "the initial state of sine follows from its parameters; leave out initial_state"
        refuses(UsageError, message, data, Sine(), initial_state={"angle": 0.0})

    def test_after_the_first_sample(self) -> None:
        message = (
            "expected initial_time at or before the first sample; trajectory 0 has its first "
            "sample at 2, got 2.5"
        )
        refuses(UsageError, message, initial_time=2.5)
        message = "trajectory 2 has its first sample at 2, got 3"
        refuses(UsageError, message, initial_time=[0.0, 2.0, 3.0])
        message = "expected initial_time as one number or 3, one for each trajectory"
        refuses(UsageError, message, initial_time=[0.0, 1.0])
        refuses(UsageError, "first sample at 2, got nan", initial_time=np.nan)


class TestNoise:
    def test_an_output_without_a_level(self) -> None:
        message = (
            "noise_sd knows prey but not predator; give all outputs a level, or noise_sd='each'"
        )
        refuses(UsageError, message, noise_sd={"prey": 1.0})

    @pytest.mark.parametrize("level", [0.0, -1.0, np.nan, np.inf])
    def test_not_positive(self, level: float) -> None:
        message = (
            f"expected positive standard deviations; noise_sd of 'predator' is {level:g} at "
            "sample 0 of trajectory 0"
        )
        refuses(UsageError, message, noise_sd={"prey": 1.0, "predator": level})
        sd = np.ones((3, 6, 2))
        sd[1, 4, 1] = level
        message = f"noise_sd of 'predator' is {level:g} at sample 4 of trajectory 1"
        refuses(UsageError, message, noise_sd=sd)

    def test_levels_of_what_was_not_seen_do_not_matter(self) -> None:
        data = records()
        data["observed"][1, 4, 1] = np.nan
        sd = np.where(np.isfinite(data["observed"]), 1.0, np.nan)
        assert np.isfinite(wp.fit(SYSTEM, data, noise_sd=sd, starts=1)["log_likelihood"]).all()

    @pytest.mark.parametrize("shape", [(3,), (6, 2), (3, 6), (2, 3, 6)])
    def test_the_wrong_shape(self, shape: tuple[int, ...]) -> None:
        message = (
            "expected noise_sd as an array (2,), (3, 2) or (3, 6, 2), outputs prey, predator "
            f"last; got shape {shape}"
        )
        refuses(UsageError, message, noise_sd=np.ones(shape))
        message = (
            "expected noise_sd['prey'] as a number, 3 numbers (one for each trajectory) or an "
            "array (3, 6) (trajectory, sample); got shape (6,)"
        )
        refuses(UsageError, message, noise_sd={"prey": np.ones(6), "predator": 1.0})

    def test_an_unknown_word(self) -> None:
        message = (
            'expected noise_sd as "each", "common", a mapping from output to standard deviation, '
            "or an array; got 'all'"
        )
        refuses(UsageError, message, noise_sd="all")
        message = "expected standard deviations as numbers, got 'small'"
        refuses(UsageError, message, noise_sd={"prey": "small", "predator": 1.0})


class TestGroups:
    def test_without_shared_parameters(self) -> None:
        message = "group= says who shares parameters; name them: shared=['...']"
        refuses(UsageError, message, group=[0, 0, 1])

    def test_too_few_labels(self) -> None:
        message = (
            "expected group as a coordinate of the data set or 3 labels, one for each trajectory; "
            "got shape (2,)"
        )
        refuses(UsageError, message, shared=["alpha"], group=[0, 1])

    def test_fixed_and_shared(self) -> None:
        message = "parameter 'alpha' is fixed and cannot be shared; leave out one"
        refuses(UsageError, message, shared=["alpha"], fixed={"alpha": 0.5})


class TestStarts:
    def test_another_kind(self) -> None:
        message = (
            "expected initial as a Dataset from estimate or fit, a DataArray (trajectory, "
            "parameter), a mapping from name to number or array, or None; got ndarray"
        )
        refuses(UsageError, message, initial=np.ones((3, 4)))

    def test_a_data_set_without_parameters(self) -> None:
        message = "expected initial to hold 'parameters', as estimate(...) and fit(...) return it"
        refuses(SchemaError, message, initial=records()[["observed"]])

    def test_a_table_without_names(self) -> None:
        message = (
            "expected initial as a DataArray (trajectory, parameter) with the parameters' names "
            "as coordinate, got dimensions ('trajectory', 'parameter')"
        )
        table = xr.DataArray(np.ones((3, 4)), dims=("trajectory", "parameter"))
        refuses(UsageError, message, initial=table)

    def test_other_trajectories(self) -> None:
        start = records()["true_parameters"]
        message = "unknown trajectory in initial 2; known: 0, 1"
        refuses(UnknownNameError, message, initial=start.isel(trajectory=slice(2)))
        message = "expected initial with 3 trajectories like the data, got 2"
        start = start.isel(trajectory=slice(2)).drop_vars("trajectory")
        refuses(UsageError, message, initial=start)

    @pytest.mark.parametrize("starts", [0, -1, 1.5, True])
    def test_how_many(self, starts: Any) -> None:
        message = f"expected starts as a whole number, 1 or more; received {starts!r}"
        refuses(UsageError, message, starts=starts)

    @pytest.mark.parametrize("count", [-1, 1.5, True])
    def test_how_many_iterations(self, count: Any) -> None:
        message = f"expected max_iterations as a whole number, 0 or more; received {count!r}"
        refuses(UsageError, message, max_iterations=count)


class TestNumbers:
    @pytest.mark.parametrize("name", ["tolerance", "rtol"])
    @pytest.mark.parametrize("value", [0.0, -1e-9, 1.0, "small", np.nan])
    def test_tolerances(self, name: str, value: Any) -> None:
        message = f"expected {name} between 1e-15 and 0.1, got {value!r}"
        refuses(UsageError, message, **{name: value})

    @pytest.mark.parametrize("value", [0.0, -3.0, "soon", np.nan])
    def test_time_budget(self, value: Any) -> None:
        message = f"expected time_budget in seconds, above 0, got {value!r}"
        refuses(UsageError, message, time_budget=value)

    @pytest.mark.parametrize("value", [0.0, 1.0, 95])
    def test_level(self, value: Any) -> None:
        message = f"expected a level between 0 and 1, like 0.9, got {value!r}"
        refuses(UsageError, message, level=value)


class TestRecords:
    def test_inputs_left_out(self) -> None:
        system = DrivenOscillator()
        data = simulate(system, 2, np.arange(5.0), inputs={"force": 1.0}, seed=0)
        message = "the system driven_oscillator needs its inputs (force) as the variable 'inputs'"
        refuses(SchemaError, message, data.drop_vars("inputs"), system)

    def test_outputs_of_another_system(self) -> None:
        refuses(UnknownNameError, "unknown", system=DampedOscillator())

    def test_no_data_set(self) -> None:
        message = "expected an xarray.Dataset, got ndarray"
        says(SchemaError, message, lambda: wp.fit(SYSTEM, np.ones((3, 4))))
