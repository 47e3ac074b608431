"""The bytes of a data set's NetCDF file: the same data set, the same bytes."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import H5NetCDFStore
from xarray.backends.common import ArrayWriter


class _Store(H5NetCDFStore):
    """xarray's writer, which lays out a file independently of other threads.

    It makes a placeholder for every dimension and deletes it when the coordinate variable of
    that name comes. HDF5 frees the space of a deleted object when its last handle is closed,
    and whoever looks at this thread's frames (a profiler like that of dask's workers) keeps
    handles open for a moment: where later objects lie in the file would be up to chance.
    Handles held here until the file is closed let no space be used a second time.
    """

    def set_dimensions(
        self, variables: Mapping[str, xr.Variable], unlimited_dims: Collection[str] | None = None
    ) -> None:
        super().set_dimensions(variables, unlimited_dims)
        self._placeholders = [self.ds._h5group[name] for name in self.ds.dimensions]


def image(dataset: xr.Dataset) -> memoryview:
    """Return the file's bytes.

    HDF5 that runs out of disk while writing cannot close its file again and takes the process
    down with it, so the file is composed in memory and written by plain means.
    """
    plain = dataset.drop_encoding()
    # The conventions allow no fill value on a coordinate variable.
    grids: dict[str, dict[str, Any]] = {
        str(name): {"_FillValue": None}
        for name, variable in plain.variables.items()
        if variable.dims == (name,) and np.issubdtype(variable.dtype, np.floating)
    }
    target = io.BytesIO()
    store = _Store.open(target, mode="w")
    try:
        writer = ArrayWriter()
        plain.dump_to_store(store, writer=writer, encoding=grids)
        writer.sync()
    finally:
        store.close()
    return target.getbuffer()
