"""Variables of a data set with one value for each trajectory: labels of groups, known values."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from warp_phys.systems.errors import UsageError, unknown_name


def by_trajectory(dataset: xr.Dataset, name: str, count: int) -> NDArray[Any]:
    """Return a variable of a data set with one value for each trajectory, (N,).

    Raises:
        UnknownNameError: There is no such variable.
        UsageError: It has other dimensions.
    """
    possible = [
        str(key) for key, array in dataset.variables.items() if array.dims == ("trajectory",)
    ]
    if name not in dataset.variables:
        raise unknown_name("coordinate of the data set", name, possible)
    values = dataset[name]
    if values.dims not in ((), ("trajectory",)):
        raise UsageError(
            f"expected {name!r} to have one value for each trajectory, got the dimensions "
            f"({', '.join(map(str, values.dims))}); such variables are: "
            f"{', '.join(possible) or 'none'}"
        )
    # The coordinate of one trajectory, selected with isel(trajectory=0), has no dimension.
    return np.broadcast_to(np.asarray(values.values), (count,))
