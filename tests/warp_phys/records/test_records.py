"""Records: what a data set gives, on shared and on own time grids."""

import re
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from tests.warp_phys.user_systems import DrivenOscillator
from warp_phys.records.records import read_records
from warp_phys.systems import LotkaVolterra, SchemaError, UnknownNameError, UsageError

RAGGED = np.array([[0.0, 1.0, 3.0, 4.0], [10.0, 10.5, np.nan, np.nan], [5.0, 6.0, 7.0, np.nan]])


def dataset(
    times: Any = (0.0, 1.0, 2.0, 4.0), outputs: tuple[str, ...] = ("prey", "predator")
) -> xr.Dataset:
    """Return three records put together by hand, every value another number."""
    axis: Any = ("trajectory", "sample") if np.ndim(times) == 2 else "time"
    samples = np.shape(times)[-1]
    values = 1.0 + np.arange(3.0 * samples * len(outputs)).reshape(3, samples, -1)
    return xr.Dataset(
        {"observed": (("trajectory", np.atleast_1d(axis)[-1], "output"), values)},
        coords={"time": (axis, np.array(times)), "output": list(outputs)},
    )


class TestGrids:
    def test_a_shared_grid_is_everybodys(self) -> None:
        records = read_records(dataset(), LotkaVolterra())
        assert not records.own_grids
        assert records.times.tolist() == [[0.0, 1.0, 2.0, 4.0]] * 3
        assert records.valid.all()
        assert records.seen.all()
        assert records.outputs == ("prey", "predator")
        assert records.observed.dtype == torch.float64
        np.testing.assert_array_equal(records.observed, dataset().observed)

    def test_own_grids_end_in_padding(self) -> None:
        records = read_records(dataset(RAGGED), LotkaVolterra())
        assert records.own_grids
        assert records.valid.sum(dim=1).tolist() == [4, 2, 3]
        assert records.elapsed.tolist() == [[0, 1, 3, 4], [0, 0.5, 0.5, 0.5], [0, 1, 2, 2]]

    @pytest.mark.parametrize("times", [(0.0, 1.0, 2.0, 4.0), RAGGED], ids=["shared", "own"])
    @pytest.mark.parametrize("drop", [False, True])
    def test_one_trajectory_picked_out(self, times: Any, drop: bool) -> None:
        data = dataset(times).assign_coords(trajectory=["a", "b", "c"])
        picked = read_records(data.isel(trajectory=1, drop=drop), LotkaVolterra())
        kept = read_records(data.isel(trajectory=[1]), LotkaVolterra())
        torch.testing.assert_close(picked.times, kept.times, equal_nan=True)
        assert torch.equal(picked.observed, kept.observed)
        assert picked.labels == ((0,) if drop else ("b",))
        assert picked.own_grids == kept.own_grids

    def test_dimensions_are_known_by_name(self) -> None:
        data = dataset(RAGGED)
        turned = data.assign_coords(time=data.time.transpose("sample", "trajectory"))
        times = read_records(turned, None).times
        np.testing.assert_array_equal(times, RAGGED)

    @given(st.integers(-(2**40), 2**40))
    def test_elapsed_time_counts_from_the_first_sample(self, start: int) -> None:
        shifted = read_records(dataset(RAGGED + start), None)
        assert torch.equal(shifted.elapsed, read_records(dataset(RAGGED), None).elapsed)


class TestValues:
    @pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite_is_missing(self, hole: float) -> None:
        data = dataset()
        data.observed[1, 2, 0] = hole
        records = read_records(data, None)
        assert records.observed[1, 2, 0].isnan()
        assert (~records.seen).nonzero().tolist() == [[1, 2, 0]]
        assert records.valid.all()

    def test_integers_become_numbers(self) -> None:
        records = read_records(dataset().astype(np.int32), None)
        assert records.observed.dtype == torch.float64
        np.testing.assert_array_equal(records.observed, dataset().observed)

    def test_outputs_come_in_the_order_asked_for(self) -> None:
        records = read_records(dataset(), LotkaVolterra(), ("predator", "prey"))
        assert records.outputs == ("predator", "prey")
        np.testing.assert_array_equal(records.observed, dataset().observed[..., ::-1])
        one = read_records(dataset(), LotkaVolterra(), ("predator",))
        np.testing.assert_array_equal(one.observed, dataset().observed[..., 1:])

    def test_inputs_come_in_the_systems_order(self) -> None:
        force = np.arange(12.0).reshape(3, 4, 1)
        data = dataset(outputs=("position", "velocity")).assign(
            inputs=(("trajectory", "time", "input"), force)
        )
        records = read_records(data.assign_coords(input=["force"]), DrivenOscillator())
        np.testing.assert_array_equal(records.inputs, force)

    def test_select_keeps_rows_and_labels_together(self) -> None:
        data = dataset(RAGGED).assign_coords(trajectory=["a", "b", "c"])
        records = read_records(data, None)
        for index in (torch.tensor([2, 0]), slice(1, 3)):
            chosen = records.select(index)
            rows = range(3)[index] if isinstance(index, slice) else index.tolist()
            assert chosen.labels == tuple("abc"[row] for row in rows)
            assert torch.equal(chosen.observed, records.observed[list(rows)])
            assert len(chosen) == len(list(rows))
            assert chosen.outputs == records.outputs


class TestWhatElseADataSetSays:
    def data(self) -> xr.Dataset:
        data = dataset().assign_coords(site=("trajectory", ["north", "east", "north"]))
        data = data.assign_coords(output_unit=("output", ["kg", "t"]), state=["predator"])
        data["time"].attrs["units"] = "year"
        known = ("trajectory", "state"), np.array([[1.0], [2.0], [np.nan]])
        return data.assign(known_initial_state=known).assign_attrs(history="counted")

    def test_it_travels_with_the_records(self) -> None:
        records = read_records(self.data(), LotkaVolterra(), groups=("site",))
        assert (records.history, records.time_unit) == ("counted", "year")
        assert records.output_units == ("kg", "t")
        chosen = records.select(torch.tensor([2, 1]))
        assert chosen.groups["site"].tolist() == ["north", "east"]
        np.testing.assert_array_equal(chosen.known_states["predator"], [np.nan, 2.0])
        assert chosen.history == "counted"

    def test_one_trajectory_picked_out(self) -> None:
        records = read_records(self.data().isel(trajectory=1), LotkaVolterra())
        assert records.known_states["predator"].tolist() == [2.0]

    def test_a_state_that_is_known_for_no_trajectory_is_not_known(self) -> None:
        data = self.data()
        data["known_initial_state"] = data["known_initial_state"] * np.nan
        assert read_records(data, LotkaVolterra()).known_states == {}
        # A single trajectory of those that have none.
        assert read_records(self.data().isel(trajectory=2), LotkaVolterra()).known_states == {}

    def test_a_state_is_known_at_its_time_alone(self) -> None:
        data = self.data()
        start = np.full(3, data["time"].values[0])
        start[0] -= 1.0
        records = read_records(data.assign(initial_time=("trajectory", start)), LotkaVolterra())
        np.testing.assert_array_equal(records.known_states["predator"], [np.nan, 2.0, np.nan])

    def test_a_group_that_is_not_there(self) -> None:
        with pytest.raises(UnknownNameError, match="unknown coordinate of the data set 'place'"):
            read_records(self.data(), LotkaVolterra(), groups=("place",))


class TestMessages:
    def test_a_record_without_a_valid_sample(self) -> None:
        data = dataset().assign_coords(trajectory=["north", "east", "south"])
        data.observed[1] = np.nan
        message = "trajectory east has no valid sample of prey, predator (1 such of 3)"
        with pytest.raises(UsageError, match=re.escape(message)):
            read_records(data, LotkaVolterra())

    def test_other_outputs_than_asked_for(self) -> None:
        message = "the model reads the outputs prey, predator, the data set has prey"
        with pytest.raises(SchemaError, match=message):
            read_records(dataset(outputs=("prey",)), LotkaVolterra(), ("prey", "predator"))

    def test_inputs_that_are_not_there(self) -> None:
        data = dataset(outputs=("position", "velocity"))
        with pytest.raises(SchemaError, match=r"driven_oscillator needs its inputs \(force\)"):
            read_records(data, DrivenOscillator())

    def test_inputs_with_a_gap(self) -> None:
        force = np.zeros((3, 4, 1))
        force[2, 1] = np.nan
        data = dataset(RAGGED, outputs=("position", "velocity")).assign(
            inputs=(("trajectory", "sample", "input"), force)
        )
        data = data.assign_coords(input=["force"])
        with pytest.raises(UsageError, match="inputs of trajectory 2 are missing at sample 1"):
            read_records(data, DrivenOscillator())
        data.inputs[2, 1] = 0.0
        data.inputs[1, 2:] = np.nan  # behind the last sample anything may stand
        assert len(read_records(data, DrivenOscillator())) == 3
