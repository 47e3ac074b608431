"""Composes the bytes of a NetCDF file, which are the same for the same data set."""

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

    It makes a placeholder for every dimension and deletes it when the coordinate variable of that
    name is written. HDF5 frees the space of a deleted object when its last handle is closed, and a
    profiler that inspects the frames of this thread (as in dask's workers) keeps handles open for a
    moment, so that the positions of later objects in the file would be random. This class holds the
    handles until the file is closed, so that no space is used twice.
    """

    def set_dimensions(
        self, variables: Mapping[str, xr.Variable], unlimited_dims: Collection[str] | None = None
    ) -> None:
        super().set_dimensions(variables, unlimited_dims)
        self._placeholders = [self.ds._h5group[name] for name in self.ds.dimensions]


def image(dataset: xr.Dataset) -> memoryview:
    """Return the file's bytes.

    If the disk is full, HDF5 cannot close its file again and crashes the process. The file is
    therefore composed in memory and then written as plain bytes.
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
