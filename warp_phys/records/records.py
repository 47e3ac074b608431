"""Records: measured trajectories as tensors, read from a data set and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from warp_phys.records.by_trajectory import by_trajectory
from warp_phys.records.limits import read_limits, unknown_limits
from warp_phys.records.time_units import in_time_unit
from warp_phys.systems.errors import SchemaError, UsageError
from warp_phys.systems.forcing.dataset import read_doses, read_table
from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.forcing.inputs import InputTable
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.checks import check_dataset, check_times
from warp_phys.systems.schema.labels import (
    Coordinates,
    output_coords,
    parameter_coords,
    state_coords,
    time_coords,
    trajectory_coords,
)


@dataclass(frozen=True)
class Records:
    """N measured trajectories of up to T samples, with all information of their data set.

    Attributes:
        observed: (N, T, O), NaN where missing, in the unit of each output.
        times: (N, T), NaN after the last sample of a shorter trajectory, in the time unit.
        inputs: (N, T, I), known inputs at the samples.
        outputs: Names of the O outputs.
        labels: The trajectories' labels, for messages and results.
        own_grids: Whether each trajectory has its own times in the data set.
        table: The inputs at other times than those of the samples, if given.
        doses: Amounts by which states rose, and their times; None where there are none.
        known_states: Known values (N,) at the first sample by state, NaN where a trajectory has
            none; states that are known for no trajectory are left out.
        groups: Variables of the data set with one value for each trajectory, by name, that the
            caller asked for: labels of groups, or known values.
        output_units: Units of the outputs, empty where the data set gives none.
        time_unit: Unit of the times, empty where the data set gives none.
        history: How the data set was created; results continue it.
        censored: (N, T, O), 1 where a value is a limit below which, and 2 where it is one above
            which the true value was; 0 where it was measured. None where all were.
    """

    observed: Tensor
    times: Tensor
    inputs: Tensor
    outputs: tuple[str, ...]
    labels: tuple[Any, ...]
    own_grids: bool
    table: InputTable | None = None
    doses: Doses | None = None
    known_states: Mapping[str, Tensor] = field(default_factory=dict)
    groups: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    output_units: tuple[str, ...] = ()
    time_unit: str = ""
    history: str = ""
    censored: Tensor | None = None

    @property
    def valid(self) -> Tensor:
        """(N, T) bool: whether there is a sample, rather than padding."""
        return self.times.isfinite()

    @property
    def seen(self) -> Tensor:
        """(N, T, O) bool: whether a value was measured."""
        return self.observed.isfinite()

    @property
    def elapsed(self) -> Tensor:
        """(N, T) time since each trajectory's first sample; padding repeats the last."""
        start = self.times[:, :1]
        # A cumulative maximum repeats the last time in the padding, so that steps there are zero.
        held = torch.where(self.valid, self.times - start, torch.zeros_like(self.times))
        return held.cummax(dim=1).values

    def __len__(self) -> int:
        return self.observed.shape[0]

    def select(self, index: Tensor | slice) -> Records:
        """Return some of the trajectories."""
        labels = (
            self.labels[index]
            if isinstance(index, slice)
            else tuple(self.labels[i] for i in index.tolist())
        )
        return replace(
            self,
            observed=self.observed[index],
            times=self.times[index],
            inputs=self.inputs[index],
            labels=labels,
            censored=None if self.censored is None else self.censored[index],
            table=None if self.table is None else self.table.select(index),
            doses=None if self.doses is None else self.doses.select(index),
            known_states={name: values[index] for name, values in self.known_states.items()},
            # A variable may hold one value for all trajectories.
            groups={
                name: values[index] if np.ndim(values) else values
                for name, values in self.groups.items()
            },
        )


def result_coords(system: System, records: Records) -> Coordinates:
    """Return the coordinates of results for records, with one time grid where they share it."""
    times = records.times if records.own_grids else records.times[0]
    return {
        **trajectory_coords(np.array(records.labels)),
        **time_coords(system, times.numpy()),
        **parameter_coords(system),
        **state_coords(system),
        **output_coords(system, records.outputs),
    }


def read_records(
    dataset: xr.Dataset,
    system: System | None,
    outputs: tuple[str, ...] | None = None,
    *,
    groups: Sequence[str] = (),
    empty: bool = False,
    forcing: bool = False,
    repeats: bool = False,
    limits: bool = False,
) -> Records:
    """Return the records of a data set, checked against the system.

    Args:
        dataset: `observed` on a shared or on own time grids, see the data schema. Times in another
            unit than the system's are converted to it.
        system: The system whose outputs and inputs they are; None accepts any outputs.
        outputs: The outputs that a model was trained on, in its order; None takes all.
        groups: Names of variables with one value for each trajectory.
        empty: Whether a trajectory may be without a single value.
        forcing: Whether the caller handles doses and tables of inputs.
        repeats: Whether the caller handles several samples at one time.
        limits: Whether the caller handles censored values.

    Raises:
        SchemaError: The data set does not follow the schema, or lacks an output or input.
        UnknownNameError: There is no variable of one of the names.
        UsageError: The times do not increase, a trajectory has no valid sample, an input is
            missing, the unit of the times cannot be converted to the system's, or there are
            doses, tables of inputs or censored values that the caller does not handle.
    """
    dataset = as_batch(dataset)
    check_dataset(dataset, needs=("observed",), system=system)
    if system is not None:
        dataset = in_time_unit(dataset, system.time_unit)
    names = _output_names(dataset, outputs)
    observed = _tensor(dataset["observed"].sel(output=list(names)))
    times = _times(dataset, *observed.shape[:2])
    labels = _labels(dataset, len(observed))
    table = None if system is None else read_table(dataset, system, labels)
    doses = None if system is None else read_doses(dataset, system, labels)
    if not repeats:
        check_times(_grid(dataset).values, name="time", labels=labels)
    censored = read_limits(dataset, names, labels, observed)
    if not limits and censored is not None:
        raise unknown_limits(censored)
    if not forcing and (table is not None or doses is not None):
        raise _unknown_forcing(doses)
    records = Records(
        observed=observed,
        times=times,
        inputs=_inputs(dataset, system, table, times),
        outputs=names,
        labels=labels,
        own_grids="sample" in dataset.dims,
        table=table,
        doses=doses,
        known_states=_known_states(dataset, times),
        groups={name: by_trajectory(dataset, name, len(observed)) for name in groups},
        output_units=_output_units(dataset, names),
        time_unit=str(dataset["time"].attrs.get("units", "")),
        history=str(dataset.attrs.get("history", "")),
        censored=censored,
    )
    if not empty:
        _check_seen(records)
    _check_inputs(records)
    return records


def _output_names(dataset: xr.Dataset, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    names = tuple(str(name) for name in dataset["output"].values)
    if wanted is None:
        return names
    if any(name not in names for name in wanted):
        raise SchemaError(
            f"the model reads the outputs {', '.join(wanted)}, the data set has "
            f"{', '.join(names)}; train a model with head='direct' on what is observed"
        )
    return tuple(wanted)


def _output_units(dataset: xr.Dataset, names: Sequence[str]) -> tuple[str, ...]:
    if "output_unit" not in dataset.coords:
        return tuple("" for _ in names)
    return tuple(str(dataset["output_unit"].sel(output=name).item()) for name in names)


def _times(dataset: xr.Dataset, count: int, samples: int) -> Tensor:
    times = torch.as_tensor(np.array(_grid(dataset).values, dtype=np.float64))
    return times.expand(count, samples).clone() if times.ndim == 1 else times


def _grid(dataset: xr.Dataset) -> xr.DataArray:
    return dataset["time"].transpose("trajectory", ..., missing_dims="ignore")


def _labels(dataset: xr.Dataset, count: int) -> tuple[Any, ...]:
    labels = tuple(dataset["trajectory"].values.tolist()) if "trajectory" in dataset.coords else ()
    return labels or tuple(range(count))


def _unknown_forcing(doses: Doses | None) -> UsageError:
    what = "doses" if doses is not None else "a table of inputs with times of its own"
    return UsageError(
        f"the records have {what}, which only simulate(...) and fit(...) know of: a model "
        "would be led by them to wrong parameters without a word; use fit(system, data)"
    )


def _known_states(dataset: xr.Dataset, times: Tensor) -> dict[str, Tensor]:
    if "known_initial_state" not in dataset:
        return {}
    table = dataset["known_initial_state"].transpose("trajectory", "state")
    values = torch.as_tensor(np.array(table.values, dtype=np.float64))
    if "initial_time" in dataset:
        # Records that were cut begin later than the time at which the state is known.
        start = torch.as_tensor(np.array(dataset["initial_time"].values, dtype=np.float64))
        values[start != times[:, 0]] = np.nan
    known = {str(name): values[:, place] for place, name in enumerate(table["state"].values)}
    return {name: column for name, column in known.items() if not column.isnan().all()}


def as_batch(dataset: xr.Dataset) -> xr.Dataset:
    """Add the dimension of trajectories to one selected with `isel(trajectory=0)`."""
    if not isinstance(dataset, xr.Dataset) or "trajectory" in dataset.dims:
        return dataset
    batch = dataset.expand_dims("trajectory")
    time = dataset.coords.get("time")
    if time is None or "sample" not in time.dims:
        return batch
    return batch.assign_coords(time=time.expand_dims("trajectory"))


def _tensor(array: xr.DataArray) -> Tensor:
    dims = ["trajectory", "sample" if "sample" in array.dims else "time", array.dims[-1]]
    # Infinite values count as missing, too; a copy, because xarray arrays may be read-only.
    values = np.array(array.transpose(*dims).values, dtype=np.float64)
    return torch.as_tensor(np.where(np.isfinite(values), values, np.nan))


def _inputs(
    dataset: xr.Dataset, system: System | None, table: InputTable | None, times: Tensor
) -> Tensor:
    if system is None or not system.inputs:
        return torch.zeros(*times.shape, 0, dtype=torch.float64)
    if table is not None:
        return table.at(system, times)
    if "inputs" not in dataset:
        raise SchemaError(
            f"the system {system.name} needs its inputs ({', '.join(system.input_names)}) as the "
            "variable 'inputs' (trajectory, time, input); simulate(..., inputs=...) writes it"
        )
    return _tensor(dataset["inputs"].sel(input=list(system.input_names)))


def _check_inputs(records: Records) -> None:
    unknown = ~records.inputs.isfinite().all(dim=-1) & records.valid
    if unknown.any():
        row, sample = unknown.nonzero()[0].tolist()
        raise UsageError(
            f"the inputs of trajectory {records.labels[row]} are missing at sample {sample}; they "
            "must be known at every sample, so fill the gap or drop the sample"
        )


def _check_seen(records: Records) -> None:
    empty = ~records.seen.any(dim=-1).any(dim=-1)
    if empty.any():
        first = int(empty.nonzero()[0])
        raise UsageError(
            f"trajectory {records.labels[first]} has no valid sample of "
            f"{', '.join(records.outputs)} ({int(empty.sum())} such of {len(records)}); "
            "drop it: data.isel(trajectory=...)"
        )
