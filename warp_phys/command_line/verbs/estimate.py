"""`warp-phys estimate`: parameters at every sample, with or without a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

import warp_phys as wp
from warp_phys.command_line.files import check_data_output, contents
from warp_phys.command_line.model import INFORMATION, model_of
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
    "Name of a system (`warp-phys systems` lists them), estimated without training; or a trained "
    "model (.safetensors).",
    "MODEL",
    default=REQUIRED,
    positional=True,
)


@verb(MODEL, RECORD, MAYBE_DATA_OUTPUT, *INFORMATION, LEVEL, *COLUMNS, OVERWRITE)
def estimate(
    model: str,
    record: Path,
    output: Path | None,
    level: float,
    time: str,
    trajectory: str | None,
    rename: dict[str, str | None] | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Estimate the parameters of records at every sample.

    The estimates at the last sample are printed; --output writes all of them. --prior, --drift,
    --initial-state, --fix, --distribution, --noise-sd and --loss need the name of a system: a
    trained model holds its own.
    """
    if output is not None:
        check_data_output("--output", output, overwrite=overwrite)

    from warp_phys.command_line.report import estimates_table, warn_about

    chosen = model_of(model, options)
    data = wp.read_trajectories(record, time=time, trajectory=trajectory, rename=rename)
    found = wp.estimate(chosen, data, level=level, progress=sys.stderr.isatty())
    # Written before anything can go wrong with printing it.
    if output is not None:
        wp.save(found, output, overwrite=overwrite)
    typer.echo(estimates_table(found))
    warn_about(found)
    if output is not None:
        typer.echo(f"\nwrote {output}: {contents(found)}")
