"""Reading of measured trajectories from CSV, NetCDF and HDF5 files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import xarray as xr

from warp_phys.reading.csv_files import read_csv
from warp_phys.reading.netcdf_files import read_foreign
from warp_phys.reading.series import Series
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.schema.files import SUFFIXES, load, read_netcdf
from warp_phys.systems.schema.labels import (
    check_dataset,
    labeled,
    named_coords,
    stamp,
    time_axis,
    trajectory_coords,
)


def read_trajectories(
    path: str | os.PathLike[str],
    *,
    time: str = "time",
    trajectory: str | None = None,
    rename: Mapping[str, str | None] | None = None,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset:
    r"""Read measured trajectories into a data set with `observed` and the sample times.

    A CSV file has a header line and commas between columns: one column of times, the others of
    outputs. It holds one trajectory, or several in long form with a column that says which
    trajectory each line belongs to::

        time,prey,predator            trajectory,time,angle
        1900,30,4                     a,0.0,0.10
        1901,47.2,6.1                 a,0.1,0.08
        1902,,9.8                     b,0.0,0.20

    An empty cell (or NA, NaN) is a missing value; lines with the same time are several measurements
    at that time. A NetCDF or HDF5 file was written by this
    package, or has a variable of time and variables along its dimension and at most one other,
    that of the trajectories; further variables are ignored.

    Args:
        path: The file; ends in .csv, .nc, .h5 or .hdf5.
        time: Name of the column or variable that holds the sample times.
        trajectory: Name of the column or dimension that tells trajectories apart; None takes one
            named "trajectory" where there is one.
        rename: Names of outputs by names in the file; None leaves a column out.
        units: Units by name of output, or "time". Units that a NetCDF file states are kept.

    Returns:
        A data set with dimensions (trajectory, time, output) where all trajectories share their
        times, otherwise (trajectory, sample, output) with `time` a coordinate (trajectory,
        sample) padded with NaN. A unit that is not stated is "".

    Raises:
        FileNotFoundError: There is no such file.
        UnknownNameError: A column does not exist.
        UsageError: The file is empty, a cell is not a number, or times decrease.
        SchemaError: The file is not readable, or has no trajectories in it.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "hares.csv"
        ...     _ = path.write_text("time,prey\n1900,30\n1901,47.2\n")
        ...     record = read_trajectories(path, units={"time": "year"})
        >>> record.observed.sel(time=1901, output="prey").item()
        47.2
    """
    source = Path(path)
    suffix = source.suffix.lower()
    if suffix not in (".csv", *SUFFIXES):
        raise UsageError(
            f"expected a file ending in .csv, {', '.join(SUFFIXES)}; got {source.name}"
        )
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source}")
    if suffix == ".csv":
        series = read_csv(source, time, trajectory, rename or {})
    else:
        dataset = read_netcdf(source)
        if "schema_version" in dataset.attrs:
            own = time != "time" or trajectory not in (None, "trajectory")
            return _own(source, named=own or bool(rename or units))
        series = read_foreign(dataset, source.name, time, trajectory, rename or {})
    record = _label(series, source.name, units or {})
    return stamp(
        record,
        title=f"Trajectories read from {source.name}",
        function="warp_phys.read_trajectories",
        settings={"time": time, "trajectory": trajectory, "rename": rename, "units": units},
    )


def _label(series: Series, file: str, units: Mapping[str, str]) -> xr.Dataset:
    known = ["time", *series.names]
    for name in units:
        if name not in known:
            raise unknown_name(f"output of {file}", name, known)
    merged = {**series.units, **units}
    coordinates = (
        trajectory_coords(series.labels)
        | time_axis(series.times, merged.get("time", ""))
        | named_coords("output", series.names, [merged.get(name, "") for name in series.names])
    )
    dataset = labeled({"observed": series.values}, coordinates)
    check_dataset(dataset)
    return dataset


def _own(source: Path, *, named: bool) -> xr.Dataset:
    """Return a file of this package as it is."""
    if named:
        raise UsageError(
            f"{source.name} is a file of this package and has its names and units; read it without "
            "time, trajectory, rename and units"
        )
    dataset = load(source)
    check_dataset(dataset)
    return dataset
