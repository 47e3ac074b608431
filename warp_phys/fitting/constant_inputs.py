"""Inputs that are constant during each record, given as known values like parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from warp_phys.records.by_trajectory import by_trajectory
from warp_phys.records.records import as_batch
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System


def with_constant_inputs(
    system: System, data: xr.Dataset, fixed: Any
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Return the data set with inputs that `fixed` gives, and what else `fixed` holds.

    Args:
        system: The system.
        data: The records, with the other inputs as `inputs` or as a table.
        fixed: Known values by parameter or input: a number, (N,), a DataArray or the name of a
            variable of the data set.

    Raises:
        UsageError: A value is no number, or the data set has the input, too.
        UnknownNameError: There is no variable of a name.
    """
    given = [name for name in fixed if name in system.input_names]
    if not given:
        return data, dict(fixed)
    data = as_batch(data)
    rest = {name: value for name, value in fixed.items() if name not in given}
    variable = "input_table" if "input_table" in data else "inputs"
    along = "knot" if variable == "input_table" else data["observed"].dims[1]
    parts = [data[variable]] if variable in data else []
    for name in given:
        if parts and name in parts[0]["input"].values:
            raise UsageError(
                f"the data set has the input {name!r} in {variable!r}, and fixed[{name!r}] gives "
                "another one; leave out one"
            )
        values = np.repeat(_values(data, name, fixed[name])[:, None], data.sizes[along], axis=1)
        column = xr.DataArray(
            values[..., None], dims=("trajectory", along, "input"), coords={"input": [name]}
        )
        parts.append(column)
    if len(parts) > len(given):
        parts[0] = (
            parts[0]
            .transpose("trajectory", along, "input")
            .drop_vars("input_unit", errors="ignore")
        )
    rest_of_data = data.drop_dims("input", errors="ignore").drop_vars(variable, errors="ignore")
    table = xr.concat(parts, dim="input", coords="minimal", compat="override")
    return rest_of_data.assign({variable: table}), rest


def _values(data: xr.Dataset, name: str, value: Any) -> NDArray[np.float64]:
    """Return a known input of each trajectory, (N,)."""
    count = data.sizes["trajectory"]
    if isinstance(value, str):
        value = by_trajectory(data, value, count)
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(
            f"expected fixed[{name!r}] as a number or an array, got {value!r}"
        ) from None
    if numbers.shape not in ((), (count,)):
        raise UsageError(
            f"expected fixed[{name!r}] as one number or {count}, one for each trajectory; got "
            f"shape {numbers.shape}"
        )
    numbers = np.broadcast_to(numbers, (count,))
    if not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        raise UsageError(
            f"expected fixed[{name!r}] for every trajectory, because inputs are not estimated; "
            f"got {numbers[row]} for number {row}"
        )
    return numbers
