"""`warp-phys forecast`: records beyond their last sample."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

import warp_phys as wp
from warp_phys.command_line.files import check_data_output, contents
from warp_phys.command_line.model import INFORMATION, check_no_options, is_file, model_of
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
    "Name of a system, estimated without training; a trained model (.safetensors); or a file from "
    "`fit` or `estimate` (.nc).",
    "MODEL",
    default=REQUIRED,
    positional=True,
)
TIMES = Option(
    "times", f"Times of the forecast: {GRID}.", "TIMES", default=REQUIRED, read=read_times
)
RECORD = Option(
    "record",
    "File with trajectories, needed with a system or a trained model: .csv, .nc or .h5.",
    "RECORD",
    type=Path,
    positional=True,
)


@verb(MODEL, RECORD, TIMES, DATA_OUTPUT, *INFORMATION, LEVEL, SEED, *COLUMNS, OVERWRITE)
def forecast(
    model: str,
    times: list[float],
    output: Path,
    record: Path | None,
    level: float,
    seed: int,
    time: str,
    trajectory: str | None,
    rename: dict[str, str | None] | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Forecast records beyond their last sample.

    The physics is integrated forward with the fitted parameters, or with those estimated at the
    last sample. --prior, --drift, --initial-state, --fix, --distribution, --noise-sd and --loss
    need the name of a system: a file holds its own.
    """
    check_data_output("--output", output, overwrite=overwrite)
    columns = {"time": time, "trajectory": trajectory, "rename": rename}
    show = sys.stderr.isatty()
    if not is_file(model) or Path(model).suffix.lower() == ".safetensors":
        if record is None:
            raise UsageError(
                f"expected the records to forecast behind {Path(model).name}: MODEL RECORD"
            )
        found, system = _estimated(model, record, columns, options, level=level, progress=show)
    else:
        _check_results(model, record, columns, options)
        found, system = wp.load(Path(model)), None
    ahead = wp.forecast(found, times, system=system, level=level, seed=seed, progress=show)
    wp.save(ahead, output, overwrite=overwrite)
    bands = f", {100 * level:g} % bands" if "predicted_lower" in ahead else ""
    typer.echo(f"wrote {output}: {contents(ahead)}{bands}")


def _check_results(
    model: str, record: Path | None, columns: dict[str, Any], options: dict[str, Any]
) -> None:
    """Raise UsageError if records, their columns or a model's options are given with results."""
    path = Path(model)
    check_suffix("MODEL", path, [".safetensors", ".nc", ".h5", ".hdf5"])
    if record is not None:
        raise UsageError(
            f"{path.name} holds fits or estimates, which know their records; leave out "
            f"{record.name}"
        )
    for option in COLUMNS:
        if columns[option.name] != option.value(option.default):
            raise UsageError(
                f"{path.name} holds fits or estimates, and no record is read; leave out "
                f"{option.flag}"
            )
    check_no_options(model, options)


def _estimated(
    model: str,
    record: Path,
    columns: dict[str, Any],
    options: dict[str, Any],
    *,
    level: float,
    progress: bool,
) -> tuple[Any, Any]:
    """Return the estimates of a model for records, and its system."""
    from warp_phys.command_line.report import warn_about

    chosen = model_of(model, options)
    data = wp.read_trajectories(record, **columns)
    found = wp.estimate(chosen, data, level=level, progress=progress)
    warn_about(found)
    return found, chosen.system
