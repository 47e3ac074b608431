"""Reads, checks and writes tables of inputs and doses in data sets of the schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.systems.errors import SchemaError, UsageError, unknown_name
from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.forcing.inputs import InputTable
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.checks import check_times
from warp_phys.systems.schema.labels import Coordinates, dose_coords


def read_table(dataset: xr.Dataset, system: System, labels: Sequence[Any]) -> InputTable | None:
    """Return the table of inputs of a data set (trajectory, ...), None if it has none.

    Raises:
        SchemaError: The table has no times, or lacks an input.
        UsageError: Its times do not increase, or a value is missing.
    """
    if not system.inputs or "input_table" not in dataset:
        return None
    if "input_time" not in dataset:
        raise SchemaError(
            "the data set has an 'input_table' but not its times: add 'input_time' "
            "(trajectory, knot)"
        )
    table = dataset["input_table"].transpose("trajectory", "knot", "input")
    missing = [name for name in system.input_names if name not in table["input"].values]
    if missing:
        raise SchemaError(
            f"the 'input_table' lacks {', '.join(missing)}; {system.name} needs "
            f"{', '.join(system.input_names)}"
        )
    times = _numbers(dataset["input_time"].transpose("trajectory", "knot"))
    check_times(times.numpy(), name="input_time", labels=labels)
    values = _numbers(table.sel(input=list(system.input_names)))
    unknown = ~values.isfinite().all(dim=2) & times.isfinite()
    if unknown.any():
        row, knot = unknown.nonzero()[0].tolist()
        raise UsageError(
            f"the input_table of trajectory {labels[row]} has no value at knot {knot}; drop it "
            "there, with its time, by moving the later ones up"
        )
    # Values after the last knot are NaN. They are never used, but NaN times a share of zero is NaN.
    return InputTable(times, values.nan_to_num(0.0))


def read_doses(dataset: xr.Dataset, system: System, labels: Sequence[Any]) -> Doses | None:
    """Return the doses of a data set (trajectory, ...), None if it has none.

    Raises:
        SchemaError: Amounts, times or states of the doses are missing.
        UnknownNameError: A dose goes to no state of the system.
        UsageError: A dose that is given has no amount.
    """
    parts = ("dose_amount", "dose_time", "dose_state")
    found = [name for name in parts if name in dataset.variables]
    if not found:
        return None
    if len(found) < len(parts):
        raise SchemaError(
            f"doses are 'dose_amount' and 'dose_time' (trajectory, dose) with the coordinate "
            f"'dose_state' (dose); the data set has only {', '.join(found)}"
        )
    states = tuple(str(name) for name in np.atleast_1d(dataset["dose_state"].values))
    for name in states:
        if name not in system.state_names:
            raise unknown_name(f"state of {system.name}", name, system.state_names)
    amounts, times = (_numbers(dataset[name].transpose("trajectory", "dose")) for name in parts[:2])
    unknown = times.isfinite() & ~amounts.isfinite()
    if unknown.any():
        row, number = unknown.nonzero()[0].tolist()
        raise UsageError(
            f"dose {number} of trajectory {labels[row]} has a time but no amount; where there is "
            "no dose, the time is NaN"
        )
    return Doses(states, amounts, torch.where(times.isfinite(), times, torch.nan))


def dose_variables(system: System, doses: Doses) -> tuple[dict[str, Any], Coordinates]:
    """Return the variables and coordinates of a data set that hold doses."""
    variables = {"dose_amount": doses.amounts.numpy(), "dose_time": doses.times.numpy()}
    return variables, dose_coords(system, doses.states)


def _numbers(array: xr.DataArray) -> Tensor:
    return torch.as_tensor(np.array(array.values, dtype=np.float64))
