"""Opens a sharded data set quickly, whatever its size, and reads it lazily."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from warp_phys.data_gen.storing.manifest import FILE, Manifest, Shard, read_manifest, shard_file
from warp_phys.data_gen.storing.shard_facts import IDENTITY, checksum
from warp_phys.data_gen.storing.wording import listed
from warp_phys.systems.errors import SchemaError


def open_dataset(path: str | os.PathLike[str], *, verify: bool = False) -> xr.Dataset:
    """Open a data set that `simulate` wrote into a folder, without loading it into memory.

    Every variable of the trajectories is a dask array with one chunk for each shard; a shard is
    read when its numbers are asked for, here or on a worker that sees the same folder.

    Args:
        path: The folder.
        verify: Read every shard once and compare its checksum; otherwise only the sizes.

    Returns:
        What `simulate` returns without `output`, with the trajectories in order.

    Raises:
        FileNotFoundError: There is no data set.
        SchemaError: It is unfinished, or shards are missing, damaged or of another data set; the
            message names them. Numbers read later raise it too.

    Example:
        >>> import tempfile
        >>> from warp_phys.data_gen import simulate
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = simulate("sine", 9, range(5), seed=0, output=folder, shard_size=4)
        ...     data = open_dataset(folder, verify=True)
        ...     dict(data.observed.chunksizes)["trajectory"], float(data.observed.max()) <= 1
        ((4, 4, 1), True)
    """
    folder = Path(path).absolute()
    manifest = read_manifest(folder)
    _check_finished(folder, manifest)
    _check_files(folder, manifest, verify=verify)
    return _lazy(folder, manifest)


def _check_finished(folder: Path, manifest: Manifest) -> None:
    if manifest.missing:
        total = len(manifest.shards)
        raise SchemaError(
            f"the data set in {folder.name} is unfinished: {total - len(manifest.missing)} of "
            f"{total} shards are done; the same call of simulate, or the same command, goes on"
        )


def _check_files(folder: Path, manifest: Manifest, *, verify: bool) -> None:
    faults = [
        f"{shard.file} ({fault})"
        for shard in manifest.shards
        if (fault := _fault(folder / shard.file, shard, verify=verify))
    ]
    if faults:
        raise SchemaError(
            f"shards of {folder.name} are not as they were written: "
            f"{listed(faults)}; the same call of simulate, or the same "
            "command, makes them again"
        )


def _fault(path: Path, shard: Shard, *, verify: bool) -> str:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "missing"
    if size != shard.size:
        return f"{size} bytes, expected {shard.size}"
    return "wrong checksum" if verify and checksum(path) != shard.sha256 else ""


def _lazy(folder: Path, manifest: Manifest) -> xr.Dataset:
    """Return the lazy data set; all shards have the structure of the first one."""
    counts = tuple(shard.count for shard in manifest.shards)
    variables: dict[str, xr.Variable] = {}
    with _opened(folder / manifest.shards[0].file) as first:
        coordinates = set(first.coords)
        attributes = {name: value for name, value in first.attrs.items() if name != IDENTITY}
        for key, variable in first.variables.items():
            name = str(key)
            if "trajectory" not in variable.dims:
                variables[name] = variable.load()
            elif name == "trajectory":
                numbers = np.arange(manifest.n)
                variables[name] = xr.Variable("trajectory", numbers, variable.attrs)
            else:
                reader = _Reader(str(folder), manifest.shards[0].count, manifest.identity, name)
                chunks = (counts, *((length,) for length in variable.shape[1:]))
                values = da.map_blocks(
                    reader,
                    chunks=chunks,
                    dtype=variable.dtype,
                    meta=np.empty((0,) * variable.ndim, variable.dtype),
                )
                variables[name] = xr.Variable(variable.dims, values, variable.attrs)
    dataset = xr.Dataset(
        {name: variable for name, variable in variables.items() if name not in coordinates},
        {name: variable for name, variable in variables.items() if name in coordinates},
        attributes,
    )
    return dataset.drop_encoding()


def _opened(path: Path) -> xr.Dataset:
    try:
        return xr.open_dataset(path, engine="h5netcdf", decode_times=False)
    except (OSError, ValueError, KeyError) as error:
        raise SchemaError(f"{path.name} is not a readable shard: {error}") from error


@dataclass(frozen=True)
class _Reader:
    """Reads one variable of one shard; it is small, so that it can be sent to workers."""

    folder: str
    shard_size: int
    identity: str
    name: str

    def __call__(self, block_id: tuple[int, ...]) -> NDArray[Any]:
        path = Path(self.folder) / shard_file(block_id[0])
        try:
            with h5py.File(path) as file:
                belongs = file.attrs.get(IDENTITY) == self.identity
                first = int(file["trajectory"][0])
                values: NDArray[Any] = file[self.name][()]
        except (OSError, KeyError) as error:
            raise SchemaError(f"cannot read {self.name!r} of {path}: {error}") from error
        if not belongs or first != block_id[0] * self.shard_size:
            raise SchemaError(
                f"{path} is not the shard that belongs there: expected trajectories from "
                f"{block_id[0] * self.shard_size} on of the data set of {FILE} beside it"
            )
        return values
