"""Labeled data: coordinates, units, attributes, and what a data set must be."""

import json
from pathlib import PurePosixPath

import numpy as np
import pytest
import xarray as xr

from warp_phys.data_gen import truncated_normal
from warp_phys.systems.catalog.registry import get_system
from warp_phys.systems.errors import SchemaError, UnknownNameError, UsageError
from warp_phys.systems.schema.flags import MISFIT
from warp_phys.systems.schema.labels import (
    SCHEMA_VERSION,
    check_dataset,
    check_times,
    labeled,
    named_coords,
    output_coords,
    parameter_coords,
    stamp,
    state_coords,
    time_axis,
    time_coords,
    trajectory_coords,
)
from warp_phys.systems.schema.variables import SIMULATED


def record(n: int = 2, times: object = (0.0, 1.0, 2.0)) -> xr.Dataset:
    system = get_system("lotka_volterra")
    grid = np.asarray(times)
    coordinates = trajectory_coords(n) | time_coords(system, grid) | output_coords(system)
    return labeled({"observed": np.ones((n, grid.shape[-1], 2))}, coordinates)


class TestCoordinates:
    def test_names_stand_beside_their_units(self):
        system = get_system("pendulum")
        for coordinates, dim, entries in [
            (parameter_coords(system), "parameter", system.parameters),
            (state_coords(system), "state", system.states),
            (output_coords(system), "output", system.outputs),
        ]:
            assert coordinates[dim].values.tolist() == [entry.name for entry in entries]
            assert coordinates[f"{dim}_unit"].values.tolist() == [entry.unit for entry in entries]

    def test_outputs_may_be_chosen(self):
        chosen = output_coords(get_system("lotka_volterra"), ["predator"])
        assert chosen["output"].values.tolist() == ["predator"]

    def test_an_unknown_output_offers_the_closest(self):
        with pytest.raises(UnknownNameError, match="did you mean 'predator'"):
            output_coords(get_system("lotka_volterra"), ["predater"])

    def test_time_is_shared_or_each_ones_own(self):
        system = get_system("lotka_volterra")
        shared = time_coords(system, np.arange(3))["time"]
        own = time_coords(system, np.zeros((2, 3)))["time"]
        assert shared.dims == ("time",)
        assert own.dims == ("trajectory", "sample")
        assert shared.dtype == np.float64
        assert shared.attrs["units"] == system.time_unit

    def test_labels_of_trajectories(self):
        assert trajectory_coords(3)["trajectory"].values.tolist() == [0, 1, 2]
        assert trajectory_coords(["a", "b"])["trajectory"].values.tolist() == ["a", "b"]


class TestLabeled:
    def test_units_are_written_where_one_holds(self):
        coordinates = trajectory_coords(1) | time_axis([0.0], "s")
        alike = coordinates | named_coords("output", ["x", "z"], ["m", "m"])
        mixed = coordinates | named_coords("output", ["x", "v"], ["m", "m/s"])
        values = {"observed": np.zeros((1, 1, 2))}
        assert labeled(values, alike)["observed"].attrs == {
            "long_name": "observed output",
            "units": "m",
        }
        assert "units" not in labeled(values, mixed)["observed"].attrs

    def test_dimensions_follow_the_grid_and_the_shape(self):
        system = get_system("lotka_volterra")
        shared = trajectory_coords(2) | time_coords(system, [0.0]) | parameter_coords(system)
        own = shared | time_coords(system, np.zeros((2, 1)))
        parameters = np.zeros((2, 4))
        assert labeled({"parameters": parameters}, shared).parameters.dims == (
            "trajectory",
            "parameter",
        )
        in_time = labeled({"parameters": parameters[:, None]}, own)
        assert in_time.parameters.dims == ("trajectory", "sample", "parameter")

    def test_a_variable_of_your_own_is_taken_as_it_is(self):
        own = xr.Variable("trajectory", [1.0, 2.0], {"long_name": "weight"})
        assert labeled({"weight": own}, trajectory_coords(2)).weight.attrs["long_name"] == "weight"

    def test_wrong_shape_and_unknown_name(self):
        with pytest.raises(SchemaError, match=r"expected 'observed' .* got shape \(2,\)"):
            labeled({"observed": np.zeros(2)}, trajectory_coords(2))
        with pytest.raises(UnknownNameError, match="did you mean 'observed'"):
            labeled({"observd": np.zeros(2)}, trajectory_coords(2))

    def test_status_flags(self):
        status = labeled({"status": np.array([0, 2])}, trajectory_coords(2), SIMULATED).status
        assert status.attrs["flag_values"].tolist() == [0, 1, 2, 3, 4, 5]
        assert status.attrs["flag_meanings"].split()[2] == "too_many_steps"

    def test_bits_are_masks(self):
        misfit = labeled({"misfit": np.array([0, 5])}, trajectory_coords(2)).misfit
        assert misfit.attrs["flag_masks"].tolist() == list(MISFIT)
        assert misfit.attrs["flag_meanings"].split()[0] == "successive_residuals_are_alike"


class TestStamp:
    def test_every_attribute_is_text_or_a_number(self):
        settings = {
            "none": None,
            "path": PurePosixPath("/a/private/place/file.csv"),
            "prior": truncated_normal(1.0, 0.5),
            "array": np.arange(3.0),
            "long": np.zeros(1000),
            "function": record,
            "infinite": np.inf,
            "flag": True,
        }
        stamped = stamp(
            record(), title="Test", system=get_system("sine"), settings=settings, seed=3, rtol=1e-8
        )
        attributes = stamped.attrs
        assert all(type(value) in (str, int, float) for value in attributes.values())
        for name in ("Conventions", "title", "source", "history", "references", "settings"):
            assert name in attributes
        assert attributes["schema_version"] == SCHEMA_VERSION
        assert (attributes["system"], attributes["seed"], attributes["rtol"]) == ("sine", 3, 1e-8)
        assert "atol" not in attributes
        kept = json.loads(attributes["settings"])
        assert kept["path"] == "file.csv"
        assert kept["prior"]["distribution"] == "truncnorm"
        assert kept["array"] == [0.0, 1.0, 2.0]
        assert kept["long"] == "array of shape (1000,)"
        assert kept["function"] == "record"
        assert kept["infinite"] == "inf"

    def test_history_is_continued(self):
        first = stamp(record(), title="One", function="one")
        second = stamp(first, title="Two", function="two")
        lines = second.attrs["history"].splitlines()
        assert [line.split()[1] for line in lines] == ["two", "one"]
        assert "history" not in record().attrs


class TestTimes:
    @pytest.mark.parametrize("times", [[0], [0.0, 0.5, 2.0], [[0.0, 1.0], [5.0, np.nan]]])
    def test_good_ones_pass(self, times):
        check_times(times)

    @pytest.mark.parametrize(
        ("times", "text"),
        [
            ([0.0, 2.0, 1.0], "expected times to increase, got 2 then 1 at samples 1 and 2"),
            ([0.0, 1.0, 1.0], "drop duplicates"),
            ([[0.0, 1.0], [3.0, 2.0]], "times of trajectory 1 to increase"),
            ([0.0, np.nan], "expected times to be finite, got nan at sample 1"),
            ([[np.nan, 1.0]], "got nan at sample 0; NaN may only pad the end"),
            ([[0.0, np.nan, 1.0]], "trajectory 0 to be finite, got nan at sample 1"),
            ([[0.0, np.inf]], "got inf at sample 1"),
            ([], r"got shape \(0,\)"),
            ([[[0.0]]], r"got shape \(1, 1, 1\)"),
            (["a"], "expected times as numbers, got dtype"),
            (np.array(["2020-01-01"], dtype="datetime64[D]"), "convert dates to numbers"),
        ],
    )
    def test_bad_ones_say_where(self, times, text):
        with pytest.raises(UsageError, match=text):
            check_times(times)

    def test_the_message_uses_the_labels(self):
        with pytest.raises(UsageError, match="of trajectory b to increase"):
            check_times([[0.0, 1.0], [1.0, 0.0]], labels=["a", "b"])


class TestCheckDataset:
    def test_a_good_one_passes(self):
        check_dataset(record(), system=get_system("lotka_volterra"))
        check_dataset(record(times=[[0.0, 1.0], [2.0, np.nan]]))

    def test_integers_pass(self):
        check_dataset(record().astype(int))

    @pytest.mark.parametrize(
        ("spoil", "text"),
        [
            (lambda ds: ds.observed, "expected an xarray.Dataset, got DataArray"),
            (lambda ds: ds.rename(observed="observd"), "variable 'observed', got observd; rename"),
            (lambda ds: ds.drop_vars("observed"), "'observed', got none"),
            (lambda ds: ds.isel(trajectory=[]), "the data set is empty: no entries along traj"),
            (lambda ds: ds.isel(time=[]), "the data set is empty: no entries along time"),
            (lambda ds: ds.transpose("time", ...), "time on the wrong axis; use dataset.transpose"),
            (lambda ds: ds.isel(output=0), r"\(trajectory, time, output\), got \(trajectory, time"),
            (lambda ds: ds.astype(complex), "'observed' as real numbers, got dtype complex128"),
            (lambda ds: ds.astype(str), "astype"),
            (lambda ds: ds.drop_vars("time"), "expected a coordinate 'time' for 'observed'"),
            (lambda ds: ds.drop_vars("output"), "expected a coordinate 'output'"),
            (lambda ds: ds.assign_coords(output=["a", "a"]), "expected each output once"),
            (lambda ds: ds.assign_coords(time=[0.0, 2.0, 1.0]), "expected time to increase"),
            (lambda ds: ds.assign_coords(output=["pray", "predator"]), "did you mean 'prey'"),
        ],
    )
    def test_a_bad_one_says_why(self, spoil, text):
        with pytest.raises(UsageError, match=text):
            check_dataset(spoil(record()), system=get_system("lotka_volterra"))

    def test_needs_are_the_callers(self):
        with pytest.raises(SchemaError, match="the variable 'true_parameters', got observed"):
            check_dataset(record(), needs=("observed", "true_parameters"))
