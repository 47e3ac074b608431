"""Saves and loads data sets: files are written completely or not at all, and read back identical.

NetCDF-4, which is HDF5: xarray reads it with `engine="h5netcdf"`, and so does plain h5py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from warp_phys.systems.errors import SchemaError, UsageError
from warp_phys.systems.schema.atomic import check_target, write_atomic
from warp_phys.systems.schema.labels import SCHEMA_VERSION
from warp_phys.systems.schema.netcdf_bytes import image

if TYPE_CHECKING:
    from warp_phys.systems.model.system import System

SUFFIXES = (".nc", ".h5", ".hdf5")
_MARK = "schema_version"


def save(dataset: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a data set of this package to one NetCDF file.

    The bytes go to a temporary name in the same folder, are flushed to the disk and then take
    the final name in one step, so a full disk or a killed process leaves no half-written file
    and an old one intact.

    Args:
        dataset: What simulate, read_trajectories, estimate, fit or forecast returned.
        path: Ends in .nc (or .h5, .hdf5: the same format).
        overwrite: Replace a file of that name.

    Raises:
        OutputExistsError: The file exists and `overwrite` is off.
        SchemaError: The data set is not one of this package.
        UsageError: The name ends in something else.
        FileNotFoundError: The folder does not exist.

    Example:
        >>> import xarray as xr
        >>> import tempfile
        >>> from warp_phys.systems.schema.labels import stamp
        >>> data = stamp(xr.Dataset({"observed": ("trajectory", [1.0])}), title="One number")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(data, f"{folder}/one.nc")
        ...     load(f"{folder}/one.nc").identical(data)
        True
    """
    # A symbolic link is kept, and its target is replaced. Messages show only the file name.
    target = Path(os.path.realpath(path))
    _check_suffix(target)
    if not isinstance(dataset, xr.Dataset) or _MARK not in dataset.attrs:
        raise SchemaError(
            f"expected a Dataset of this package (with the attribute {_MARK!r}), got "
            f"{type(dataset).__name__}; keep the attributes of the data set you started from"
        )
    check_target(target, overwrite=overwrite, name=str(path))
    write_atomic(image(dataset), target, overwrite=overwrite)


def load(path: str | os.PathLike[str], *, system: System | None = None) -> xr.Dataset:
    """Read a file written by `save` into memory; the file is closed again.

    Args:
        path: The file.
        system: If given, the file must belong to this system.

    Raises:
        FileNotFoundError: There is no such file.
        SchemaError: The file was not written by this package, or by another version of its
            schema, or belongs to another system.
    """
    source = Path(path)
    dataset = read_netcdf(source)
    version = dataset.attrs.get(_MARK)
    if version is None:
        raise SchemaError(
            f"{source.name} was not written by this package: it has no attribute {_MARK!r}; "
            "for measured data use read_trajectories"
        )
    if str(version) != SCHEMA_VERSION:
        raise SchemaError(
            f"{source.name} has schema version {version}, this package reads {SCHEMA_VERSION}; "
            "read it with the version of warp-phys that wrote it, see its attribute 'source'"
        )
    if system is not None and dataset.attrs["system"] != system.name:
        raise SchemaError(
            f"{source.name} belongs to the system {dataset.attrs['system']!r}, "
            f"got system={system.name!r}"
        )
    return dataset


def read_netcdf(path: Path) -> xr.Dataset:
    """Read any NetCDF or HDF5 file into memory, with times as plain numbers, and close it."""
    if path.is_dir():
        raise UsageError(
            f"{path.name} is a folder; warp_phys.data_gen.open_dataset opens the data sets that "
            "simulate writes into folders"
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with path.open("rb") as file:
        classic = file.read(3) == b"CDF"
    try:
        with xr.open_dataset(
            path,
            engine="scipy" if classic else "h5netcdf",
            decode_times=False,
            backend_kwargs={} if classic else {"phony_dims": "access"},
        ) as opened:
            return opened.load().drop_encoding()
    except (OSError, ValueError, KeyError) as error:
        raise SchemaError(f"{path.name} is not a readable NetCDF or HDF5 file: {error}") from error


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"expected a file name ending in {' or '.join(SUFFIXES)}, got {path.name}")
