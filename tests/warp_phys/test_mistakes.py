"""The commonest mistakes, each with the one clear message it raises at every public door."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import (
    LotkaVolterra,
    OutputExistsError,
    Pendulum,
    SchemaError,
    UnknownNameError,
    UsageError,
    WarpPhysError,
    get_system,
    integrate,
)

TIMES = np.arange(6.0)
Door = Callable[[xr.Dataset], Any]


def simulated(count: int = 5, **options: Any) -> xr.Dataset:
    return simulate("lotka_volterra", n=count, times=TIMES, noise=0.1, seed=0, **options)


FIVE = simulated()


def records() -> xr.Dataset:
    return FIVE.copy(deep=True)


@pytest.fixture(scope="module")
def trained() -> wp.WarpPhys:
    model = wp.WarpPhys("lotka_volterra", head="direct", window=3, width=8)
    wp.train(model, simulated(110), simulated(110), steps=2, progress=False)
    return model


@pytest.fixture(
    params=[
        "train",
        "train with validation",
        "train Warp",
        "train the prior",
        "estimate",
        "information",
        "regression",
        "forecast",
    ]
)
def door(request: pytest.FixtureRequest, trained: wp.WarpPhys) -> Door:
    """Every public function that takes records."""
    doors: dict[str, Door] = {
        "train": lambda data: wp.train(
            wp.WarpPhys("lotka_volterra", head="direct"), data, progress=False
        ),
        "train with validation": lambda data: wp.train(
            wp.WarpPhys("lotka_volterra", head="direct"), data, records(), progress=False
        ),
        "train Warp": lambda data: wp.train(wp.Warp(), data, progress=False),
        "train the prior": lambda data: wp.train(
            wp.WarpPhys("lotka_volterra"), data, progress=False
        ),
        "estimate": lambda data: wp.estimate(trained, data),
        "information": lambda data: wp.estimate(wp.WarpPhys("lotka_volterra"), data),
        "regression": lambda data: wp.estimate(
            wp.WarpPhys("lotka_volterra", head="regression"), data
        ),
        "forecast": lambda data: wp.forecast(trained, [10.0], data=data),
    }
    return doors[request.param]


def says(error: type[WarpPhysError], message: str, action: Callable[[], Any]) -> None:
    """Expect an error of the package whose text is one line and holds the message."""
    with pytest.raises(error) as caught:
        action()
    text = str(caught.value)
    assert message in text
    assert "\n" not in text


class TestRecords:
    def test_time_on_the_wrong_axis(self, door: Door) -> None:
        data = records().transpose("trajectory", "output", "time", ...)
        message = (
            "expected 'observed' with dimensions (trajectory, time, output), got (trajectory, "
            "output, time): time on the wrong axis; use dataset.transpose('trajectory', 'time', "
            "'output', ...)"
        )
        says(SchemaError, message, lambda: door(data))

    def test_the_advice_helps(self, trained: wp.WarpPhys) -> None:
        data = records().transpose("trajectory", "output", "time", ...)
        turned = data.transpose("trajectory", "time", "output", ...)
        one, other = (wp.estimate(trained, each).parameters for each in (turned, records()))
        np.testing.assert_array_equal(one, other)

    def test_times_that_decrease(self, door: Door) -> None:
        data = records().assign_coords(time=[0.0, 1.0, 2.0, 1.5, 3.0, 4.0])
        message = "got 2 then 1.5 at samples 2 and 3; sort the samples by time"
        says(UsageError, message, lambda: door(data))

    def test_repeated_times_where_only_one_sample_is_taken(self, trained: wp.WarpPhys) -> None:
        data = records().assign_coords(time=[0.0, 1.0, 2.0, 2.0, 3.0, 4.0])
        message = (
            "expected time to increase, got 2 then 2 at samples 2 and 3; sort the samples by time "
            "and drop duplicates"
        )
        says(UsageError, message, lambda: wp.estimate(trained, data))
        says(UsageError, message, lambda: wp.train(wp.Warp(), data, progress=False))

    def test_a_record_with_no_valid_sample(self, trained: wp.WarpPhys) -> None:
        data = records().assign_coords(trajectory=list("abcde"))
        data.observed[3] = np.nan
        message = "trajectory d has no valid sample of prey, predator (1 such of 5); drop it"
        says(UsageError, message, lambda: wp.estimate(trained, data))
        says(UsageError, message, lambda: wp.forecast(trained, [10.0], data=data))
        data.observed[:] = np.nan
        message = "expected at least one trajectory with a valid sample and status 0"
        for model in (wp.WarpPhys("lotka_volterra", head="direct"), wp.Warp()):
            says(UsageError, message, lambda model=model: wp.train(model, data, progress=False))

    @pytest.mark.parametrize("dtype", [object, str, complex])
    def test_the_wrong_dtype(self, door: Door, dtype: type) -> None:
        data = records()
        data = data.assign(observed=data.observed.astype(dtype))
        message = f"expected 'observed' as real numbers, got dtype {data.observed.dtype}"
        says(SchemaError, message, lambda: door(data))

    def test_dates_for_times(self, door: Door) -> None:
        data = records().assign_coords(time=np.datetime64("2026-01-01", "ns") + np.arange(6))
        says(UsageError, "convert dates to numbers", lambda: door(data))

    def test_an_empty_data_set(self, door: Door) -> None:
        data = records()
        for dim in ("trajectory", "time"):
            message = f"the data set is empty: no entries along {dim}"
            says(SchemaError, message, lambda dim=dim: door(data.isel({dim: slice(0)})))

    def test_no_data_set_at_all(self, door: Door) -> None:
        says(SchemaError, "expected an xarray.Dataset, got ndarray", lambda: door(np.zeros(3)))
        message = "expected a data set with the variable 'observed', got observd; rename 'observd'"
        data = xr.Dataset({"observd": records().observed})
        says(SchemaError, message, lambda: door(data))


class TestNames:
    def test_an_unknown_output(self, trained: wp.WarpPhys) -> None:
        data = records().assign_coords(output=["prey", "preditor"])
        message = "unknown output 'preditor'; did you mean 'predator'? known: prey"
        untrained = [
            wp.WarpPhys("lotka_volterra", head=head) for head in ("information", "regression")
        ]
        for model in (trained, *untrained):
            says(UnknownNameError, message, lambda model=model: wp.estimate(model, data))
        model = wp.WarpPhys("lotka_volterra", head="direct")
        says(UnknownNameError, message, lambda: wp.train(model, data, data, progress=False))
        message = "unknown output of LotkaVolterra 'lynx'; known: prey, predator"
        says(UnknownNameError, message, lambda: simulated(observe=["lynx"]))

    def test_other_outputs_than_trained_on(self, trained: wp.WarpPhys) -> None:
        data = simulated(observe=["prey"])
        message = (
            "the model reads the outputs prey, predator, the data set has prey; train a model "
            "with head='direct' on what is observed"
        )
        says(SchemaError, message, lambda: wp.estimate(trained, data))

    def test_an_unknown_system(self) -> None:
        message = "unknown system 'lotka_voltera'; did you mean 'lotka_volterra'? known: "
        doors: list[Callable[[], Any]] = [
            lambda: get_system("lotka_voltera"),
            lambda: simulate("lotka_voltera", n=1, times=TIMES),
            lambda: wp.WarpPhys("lotka_voltera"),
        ]
        for door in doors:
            says(UnknownNameError, message, door)

    def test_a_class_for_an_instance(self) -> None:
        message = "; write LotkaVolterra() for an instance"
        says(UsageError, message, lambda: simulate(LotkaVolterra, n=1, times=TIMES))
        says(UsageError, message, lambda: wp.WarpPhys(LotkaVolterra))


class TestParameters:
    def test_out_of_bounds(self) -> None:
        message = "parameter 'alpha' of trajectory 0 is -0.5 1/year, outside its support (positive)"
        says(UsageError, message, lambda: simulated(parameters={"alpha": -0.5}))
        values = np.array([[-0.5, 0.03, 0.8, 0.02]])
        start = np.array([[30.0, 4.0]])
        says(UsageError, message, lambda: integrate(LotkaVolterra(), TIMES, start, values))
        message = "parameter 'g' is fixed at -9.81 m/s2, outside its support (positive)"
        says(UsageError, message, lambda: Pendulum(g=-9.81))

    def test_the_wrong_dtype(self) -> None:
        start, values = np.array([[30, 4]]), np.array([[0.5, 0.03, 0.8, 0.02]])
        message = "expected initial_states in float64 (or float32), received int64"
        says(UsageError, message, lambda: integrate(LotkaVolterra(), TIMES, start, values))


class TestModels:
    def test_not_trained(self) -> None:
        model = wp.WarpPhys("lotka_volterra", head="direct")
        message = (
            "the model of lotka_volterra is not trained yet; call train(model, data) with data "
            "from simulate, or load one with WarpPhys.load"
        )
        doors: list[Callable[[], Any]] = [
            lambda: wp.estimate(model, records()),
            lambda: wp.forecast(model, [10.0], data=records()),
            lambda: model.save("model.safetensors"),
            model.init_state,
        ]
        for door in doors:
            says(UsageError, message, door)

    def test_a_regression_head_that_does_not_fit(self) -> None:
        message = "the regression head needs a right-hand side that is affine in coordinates"
        says(UsageError, message, lambda: wp.WarpPhys("sine", head="regression"))

    def test_a_root_that_does_not_fit(self) -> None:
        message = "root='solution' needs a closed form, which lotka_volterra lacks"
        says(
            UsageError,
            message,
            lambda: wp.WarpPhys("lotka_volterra", head="direct", root="solution"),
        )
        model = wp.WarpPhys("lotka_volterra", head="direct", root="step")
        data = simulate("lotka_volterra", n=8, times=TIMES, observe=["prey"], seed=0)
        message = "root='step' needs every state of lotka_volterra observed, got prey"
        says(
            UsageError,
            message,
            lambda: wp.train(model, data, data, loss="reconstruction", progress=False),
        )


class TestFiles:
    def test_one_that_exists(self, trained: wp.WarpPhys, tmp_path: Path) -> None:
        for name, save in (
            ("records.nc", lambda path: wp.save(records(), path)),
            ("model.safetensors", trained.save),
        ):
            (tmp_path / name).write_text("precious")
            message = f"{name} exists already; choose another name or pass overwrite=True"
            says(OutputExistsError, message, lambda save=save, name=name: save(tmp_path / name))
            assert (tmp_path / name).read_text() == "precious"

    def test_one_not_written_by_this_package(self, tmp_path: Path) -> None:
        xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
        message = "other.nc was not written by this package: it has no attribute 'schema_version'"
        says(SchemaError, message, lambda: wp.load(tmp_path / "other.nc"))
        (tmp_path / "other.safetensors").write_text("no model")
        message = "other.safetensors is not a readable safetensors file"
        says(SchemaError, message, lambda: wp.WarpPhys.load(tmp_path / "other.safetensors"))
        says(SchemaError, message, lambda: wp.Warp.load(tmp_path / "other.safetensors"))
