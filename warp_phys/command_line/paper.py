"""Data sets of the WARP paper on the command line: `warp-phys simulate paper_msd -o msd.nc`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

import warp_phys as wp
from warp_phys.command_line.files import check_data_output, contents
from warp_phys.systems.errors import UsageError

# Defaults of the options that the published recipe settles.
_SETTLED: dict[str, Any] = {"distribution": "normal", "sampling": "random"}


def paper_file(
    name: str,
    split: str,
    number: int | None,
    settings: Mapping[str, Any],
    path: Path | None,
    *,
    overwrite: bool,
) -> None:
    """Write one of the paper's data sets.

    Args:
        name: Name of the data set.
        split: "train", "validation" or "test".
        number: Number of trajectories, None for the published one.
        settings: Values of the verb's other options; the published recipe settles all of them but
            `seed` and `progress`.
        path: The file; None where a folder was asked for.
        overwrite: Replace an existing file.
    """
    for option, value in settings.items():
        if option not in ("seed", "progress") and value and value != _SETTLED.get(option):
            raise UsageError(f"{name} is made by its published recipe; leave out {option}")
    if path is None:
        raise UsageError(f"{name} goes into one file; give -o {name}.nc")
    check_data_output("--output", path, overwrite=overwrite)

    from warp_phys.command_line.report import warn_failed
    from warp_phys.data_gen import paper_data

    seed, progress = settings["seed"] or 0, settings["progress"]
    data = paper_data(name, split=split, n=number, seed=seed, progress=progress)  # type: ignore[arg-type] # paper_data checks the text
    warn_failed(data)
    wp.save(data, path, overwrite=overwrite)
    typer.echo(f"wrote {path}: {contents(data)}, seed {data.attrs['seed']}")
