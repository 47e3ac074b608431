"""`warp-phys plot`: a figure of whatever a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

import warp_phys as wp
from warp_phys.command_line.files import any_file
from warp_phys.command_line.options import (
    OVERWRITE,
    RENAMES,
    REQUIRED,
    TIME_COLUMN,
    Option,
    verb,
)
from warp_phys.command_line.values import check_outputs, check_suffix

FILE = Option(
    "file",
    "A file that another verb wrote, or trajectories.",
    "FILE",
    type=Path,
    default=REQUIRED,
    positional=True,
)
OUTPUT = Option(
    "output",
    "Figure to write: .png, .pdf or .svg.",
    "FILE",
    ("--output", "-o"),
    type=Path,
    default=REQUIRED,
)
TRAJECTORY = Option("trajectory", "Label of the trajectory to draw; by default the first.", "LABEL")
DATA = Option(
    "data",
    "Records, with their true parameters if known, to draw with an estimate, fit or forecast.",
    "FILE",
    type=Path,
)


@verb(FILE, OUTPUT, TRAJECTORY, DATA, TIME_COLUMN, RENAMES, OVERWRITE)
def plot(
    file: Path,
    output: Path,
    trajectory: str | None,
    data: Path | None,
    overwrite: bool,
    **columns: Any,
) -> None:
    """Draw records, estimates, fits, forecasts or a training history."""
    from warp_phys.results.plots.figure import FIGURE_SUFFIXES, figure_of, save_figure

    check_suffix("--output", output, FIGURE_SUFFIXES)
    check_outputs({"--output": output}, overwrite=overwrite)
    figure = figure_of(
        any_file(file, columns),
        trajectory=0 if trajectory is None else trajectory,
        data=None if data is None else wp.read_trajectories(data, **columns),
    )
    save_figure(figure, output, overwrite=overwrite)
    typer.echo(f"wrote {output}")
