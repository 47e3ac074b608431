"""Known values: numbers, arrays or variables of the data set, one for each trajectory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.likelihood.stating.choose_unknowns import as_mapping
from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.supports import contains, describe
from warp_phys.systems.model.system import System


def per_trajectory(name: str, value: Any, records: Records) -> Tensor:
    """Return a number, an array, or a variable of the records given by its name, as (N,)."""
    if isinstance(value, str) and value in records.groups:
        value = records.groups[value]
    if isinstance(value, xr.DataArray):
        value = _in_order(value, records).values
    if isinstance(value, Tensor):
        value = value.numpy()
    try:
        numbers = torch.as_tensor(np.array(value, dtype=np.float64))
    except (TypeError, ValueError):
        raise UsageError(f"expected {name} as a number or an array, got {value!r}") from None
    count = len(records)
    if numbers.shape not in ((), (count,)):
        raise UsageError(
            f"expected {name} as one number or {count}, one for each trajectory; "
            f"got shape {tuple(numbers.shape)}"
        )
    return numbers.expand(count)


def _in_order(array: xr.DataArray, records: Records) -> xr.DataArray:
    """Return the values of the records' trajectories, by label where the array has those labels."""
    if array.dims != ("trajectory",) or "trajectory" not in array.coords:
        return array
    places = {label: place for place, label in enumerate(array["trajectory"].values.tolist())}
    if not all(label in places for label in records.labels):
        return array
    return array.isel(trajectory=[places[label] for label in records.labels])


def known_parameters(
    system: System, records: Records, fixed: Mapping[str, Any] | None, *, mixed: bool
) -> tuple[Tensor, Tensor]:
    """Return parameters (N, P), and where they are known, (N, P); the others are one.

    Args:
        system: The system.
        records: The records of N trajectories.
        fixed: Known values by parameter.
        mixed: Whether NaN in an array stands for a parameter that is estimated in a trajectory.
    """
    values = torch.ones(len(records), len(system.parameters), dtype=torch.float64)
    known = torch.zeros_like(values, dtype=torch.bool)
    given = as_mapping("fixed", fixed)
    for name in given:
        if name not in system.parameter_names:
            raise unknown_name(f"parameter of {system.name}", name, system.parameter_names)
    for place, parameter in enumerate(system.parameters):
        value = given.get(parameter.name, parameter.fixed)
        if value is None:
            continue
        numbers = per_trajectory(f"fixed[{parameter.name!r}]", value, records)
        in_part = mixed and not isinstance(value, int | float)
        here = ~numbers.isnan() if in_part else torch.ones_like(numbers, dtype=torch.bool)
        outside = here & ~contains(numbers, parameter.support)
        if outside.any():
            row = int(outside.nonzero()[0])
            raise UsageError(
                f"fixed[{parameter.name!r}] of trajectory {records.labels[row]} is "
                f"{float(numbers[row]):g} {parameter.unit}, outside its support "
                f"({describe(parameter.support)})"
            )
        values[:, place] = torch.where(here, numbers, 1.0)
        known[:, place] = here
    return values, known
