"""`warp-phys forecast`: records beyond their last sample."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

import warp_phys as wp
from warp_phys.command_line.files import check_data_output, contents
from warp_phys.command_line.options import (
    COLUMNS,
    DATA_OUTPUT,
    GRID,
    LEVEL,
    OVERWRITE,
    REQUIRED,
    SEED,
    Option,
    read_times,
    verb,
)
from warp_phys.command_line.values import check_suffix
from warp_phys.systems.errors import UsageError

MODEL = Option(
    "model",
    "A trained model (.safetensors), or a file from `fit` or `estimate` (.nc).",
    "MODEL",
    type=Path,
    default=REQUIRED,
    positional=True,
)
TIMES = Option(
    "times", f"Times of the forecast: {GRID}.", "TIMES", default=REQUIRED, read=read_times
)
RECORD = Option(
    "record",
    "File with trajectories, needed with a trained model: .csv, .nc or .h5.",
    "RECORD",
    type=Path,
    positional=True,
)


@verb(MODEL, RECORD, TIMES, DATA_OUTPUT, LEVEL, SEED, *COLUMNS, OVERWRITE)
def forecast(
    model: Path,
    times: list[float],
    output: Path,
    record: Path | None,
    level: float,
    seed: int,
    overwrite: bool,
    **columns: Any,
) -> None:
    """Forecast records beyond their last sample.

    The physics is integrated forward with the fitted parameters, or with those estimated at the
    last sample.
    """
    check_data_output("--output", output, overwrite=overwrite)
    check_suffix("MODEL", model, [".safetensors", ".nc", ".h5", ".hdf5"])
    show = sys.stderr.isatty()
    if model.suffix.lower() == ".safetensors":
        if record is None:
            raise UsageError(f"expected the records to forecast behind {model.name}: MODEL RECORD")
        found, system = _estimated(model, record, columns, level=level, progress=show)
    else:
        if record is not None:
            raise UsageError(
                f"{model.name} holds fits or estimates, which know their records; leave out "
                f"{record.name}"
            )
        _check_no_columns(model, columns)
        found, system = wp.load(model), None
    ahead = wp.forecast(found, times, system=system, level=level, seed=seed, progress=show)
    wp.save(ahead, output, overwrite=overwrite)
    bands = f", {100 * level:g} % bands" if "predicted_lower" in ahead else ""
    typer.echo(f"wrote {output}: {contents(ahead)}{bands}")


def _check_no_columns(model: Path, columns: dict[str, Any]) -> None:
    """Raise UsageError if columns of a record are named where no record is read."""
    for option in COLUMNS:
        if columns[option.name] != option.value(option.default):
            raise UsageError(
                f"{model.name} holds fits or estimates, and no record is read; leave out "
                f"{option.flag}"
            )


def _estimated(
    model: Path, record: Path, columns: dict[str, Any], *, level: float, progress: bool
) -> tuple[Any, Any]:
    """Return the estimates of a trained model for records, and its system."""
    from warp_phys.command_line.report import warn_out_of_range

    trained = wp.WarpPhys.load(model)
    data = wp.read_trajectories(record, **columns)
    found = wp.estimate(trained, data, level=level, progress=progress)
    warn_out_of_range(found)
    return found, trained.system
