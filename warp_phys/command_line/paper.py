"""The WARP paper's data sets on the command line: `warp-phys simulate paper_msd -o msd.nc`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

import warp_phys as wp
from warp_phys.command_line.files import check_data_output, contents
from warp_phys.systems.errors import UsageError

# What the recipe settles, and how it looks where it was not given.
_SETTLED: dict[str, Any] = {"distribution": "normal", "sampling": "random"}


def paper_file(
    name: str,
    split: str,
    number: int | None,
    seed: int | None,
    given: Mapping[str, Any],
    output: str | None,
    *,
    overwrite: bool,
) -> None:
    """Write one of the paper's data sets.

    Args:
        name: Of the data set.
        split: Of the data set.
        number: Number of trajectories, None for the published one.
        seed: None for the default.
        given: What else was given; the recipe settles all of it but `seed` and `progress`.
        output: The file; None where a folder was asked for.
        overwrite: Replace a file.
    """
    for option, value in given.items():
        if option not in ("seed", "progress") and value and value != _SETTLED.get(option):
            raise UsageError(f"{name} is made by its published recipe; leave out {option}")
    if output is None:
        raise UsageError(f"{name} goes into one file; give -o {name}.nc")
    path = Path(output)
    check_data_output("--output", path, overwrite=overwrite)

    from warp_phys.command_line.report import warn_failed
    from warp_phys.data_gen import paper_data

    data = paper_data(name, split=split, n=number, seed=seed or 0, progress=given["progress"])  # type: ignore[arg-type] # paper_data checks the text
    warn_failed(data)
    wp.save(data, path, overwrite=overwrite)
    typer.echo(f"wrote {path}: {contents(data)}, seed {data.attrs['seed']}")
