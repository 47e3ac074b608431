"""Reading of trajectories from NetCDF and HDF5 files that this package did not write."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr

from warp_phys.reading.series import Series, output_names
from warp_phys.systems.errors import SchemaError, unknown_name


def read_foreign(
    dataset: xr.Dataset,
    file: str,
    time: str,
    trajectory: str | None,
    rename: Mapping[str, str | None],
) -> Series:
    """Return the variables along the dimension of `time`; see `read_trajectories`."""
    clock = _clock(dataset, file, time)
    along = clock.dims[0] if clock.dims[-1] == trajectory else clock.dims[-1]
    columns = [
        str(name)
        for name, variable in dataset.data_vars.items()
        if name != time and along in variable.dims
    ]
    chosen = output_names(columns, rename, file)
    variables = [dataset[name] for name in chosen]
    for variable in (clock, *variables):
        if variable.dtype.kind not in "iuf":
            raise SchemaError(
                f"expected numbers in {variable.name!r} of {file}, got dtype {variable.dtype}; "
                f"leave it out with rename={{{variable.name!r}: None}}"
            )
    rows = _row_dimension((clock, *variables), along, file, trajectory)
    dims = (along,) if rows is None else (rows, along)
    arrays = [array.transpose(*dims).values for array in xr.broadcast(*variables)]
    values = np.stack(arrays, axis=-1).astype(np.float64)
    if rows is None:
        values = values[None]
    outputs = list(chosen.values())
    stated = [str(variable.attrs.get("units", "")) for variable in (clock, *variables)]
    return Series(
        names=outputs,
        times=clock.transpose(..., along).values.astype(np.float64),
        values=values,
        labels=dataset[rows].values if rows in dataset.coords else np.arange(len(values)),
        units=dict(zip(["time", *outputs], stated, strict=True)),
    )


def _clock(dataset: xr.Dataset, file: str, time: str) -> xr.DataArray:
    """Return the variable that holds the times."""
    if time not in dataset.variables:
        raise unknown_name(f"variable of {file}", time, map(str, dataset.variables))
    clock = dataset[time]
    if clock.ndim not in (1, 2):
        raise SchemaError(
            f"expected {time!r} of {file} with one dimension, or two where each trajectory has "
            f"its own times; got {clock.ndim}"
        )
    return clock


def _row_dimension(
    variables: tuple[xr.DataArray, ...], along: Hashable, file: str, trajectory: str | None
) -> Hashable | None:
    """Return the one dimension other than that of time, or None for a single trajectory."""
    others = {dim: None for variable in variables for dim in variable.dims if dim != along}
    if trajectory is not None and trajectory not in others:
        raise unknown_name(f"dimension of the trajectories in {file}", trajectory, map(str, others))
    if len(others) > 1:
        raise SchemaError(
            f"expected one dimension beside {along!r} in {file}, that of the trajectories; got "
            f"{', '.join(map(str, others))}: leave variables out with rename={{name: None}}"
        )
    return next(iter(others), None)
