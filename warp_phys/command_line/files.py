"""Files of the command line: reading any of them, checking outputs early, saying what they hold."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import warp_phys as wp
from warp_phys.command_line.values import check_outputs, check_suffix
from warp_phys.systems.errors import SchemaError

if TYPE_CHECKING:
    import xarray as xr


def any_file(path: Path, options: dict[str, Any]) -> xr.Dataset:
    """Load a file of this package; read any other file as trajectories."""
    if path.suffix.lower() != ".csv":
        with contextlib.suppress(SchemaError):
            return wp.load(path)
    return wp.read_trajectories(path, **options)


def check_data_output(option: str, path: Path, *, overwrite: bool) -> None:
    """Check the output file of a data set before any work is done."""
    from warp_phys.systems.schema.files import SUFFIXES

    check_suffix(option, path, SUFFIXES)
    check_outputs({option: path}, overwrite=overwrite)


def contents(data: xr.Dataset) -> str:
    """Return a phrase that says how many trajectories and samples a data set holds."""
    trajectories, samples = (
        data.sizes["trajectory"],
        data.sizes.get("time", data.sizes.get("sample")),
    )
    plural = "y" if trajectories == 1 else "ies"
    return f"{trajectories} trajector{plural} of {data.attrs['system']}, {samples} samples"
