"""`warp-phys estimate`: parameters at every sample, from a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

import warp_phys as wp
from warp_phys.command_line.files import check_data_output, contents
from warp_phys.command_line.options import (
    COLUMNS,
    LEVEL,
    MAYBE_DATA_OUTPUT,
    OVERWRITE,
    RECORD,
    REQUIRED,
    Option,
    verb,
)

MODEL = Option(
    "model",
    "A trained model (.safetensors).",
    "MODEL",
    type=Path,
    default=REQUIRED,
    positional=True,
)


@verb(MODEL, RECORD, MAYBE_DATA_OUTPUT, LEVEL, *COLUMNS, OVERWRITE)
def estimate(
    model: Path, record: Path, output: Path | None, level: float, overwrite: bool, **columns: Any
) -> None:
    """Estimate the parameters of records at every sample.

    The estimates at the last sample are printed; --output writes all of them.
    """
    if output is not None:
        check_data_output("--output", output, overwrite=overwrite)

    from warp_phys.command_line.report import estimates_table, warn_out_of_range

    trained = wp.WarpPhys.load(model)
    data = wp.read_trajectories(record, **columns)
    found = wp.estimate(trained, data, level=level, progress=sys.stderr.isatty())
    typer.echo(estimates_table(found, trained.system))
    warn_out_of_range(found)
    if output is not None:
        wp.save(found, output, overwrite=overwrite)
        typer.echo(f"\nwrote {output}: {contents(found)}")
