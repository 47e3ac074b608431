"""`warp-phys train`: a model from records with known parameters."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import warp_phys as wp
from warp_phys.command_line.files import check_data_output
from warp_phys.command_line.options import (
    OVERWRITE,
    REQUIRED,
    SEED,
    SYSTEM,
    TIME_BUDGET,
    Option,
    verb,
)
from warp_phys.command_line.values import check_outputs, check_suffix
from warp_phys.systems.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr

DATA = Option(
    "data",
    "Records to learn from, as `simulate` writes them.",
    "DATA",
    type=Path,
    default=REQUIRED,
    positional=True,
)
OUTPUT = Option(
    "output",
    "Model file to write (.safetensors).",
    "FILE",
    ("--output", "-o"),
    type=Path,
    default=REQUIRED,
)
MODEL = (
    Option(
        "head",
        "What the hidden state holds, such as direct, weights or readout; or information, which "
        "takes the moments of the parameters in DATA as its prior and has no other option.",
        "NAME",
        default="direct",
    ),
    Option(
        "drive",
        "What moves the hidden state, such as features or difference; by default the head's own.",
        "NAME",
    ),
)
TRAINING = (
    Option("steps", "Number of optimizer steps.", "NUMBER", type=int, default=6000),
    Option("batch_size", "Records in each step.", "NUMBER", type=int, default=128),
    Option("learning_rate", "Largest learning rate.", "RATE", type=float, default=4e-3),
    SEED,
    TIME_BUDGET,
)
VALIDATION = Option(
    "validation",
    "Records for validation; by default a tenth of DATA is kept out of training.",
    "FILE",
    type=Path,
)
CHECKPOINT = Option(
    "checkpoint",
    "File from which an interrupted training resumes (.safetensors).",
    "FILE",
    type=Path,
)
HISTORY = Option(
    "history",
    "NetCDF file for the losses at each step, or the prior of the information head (.nc).",
    "FILE",
    type=Path,
)


@verb(SYSTEM, DATA, OUTPUT, *MODEL, *TRAINING, VALIDATION, CHECKPOINT, HISTORY, OVERWRITE)
def train(
    system: str,
    data: Path,
    output: Path,
    head: Any,
    drive: Any,
    validation: Path | None,
    checkpoint: Path | None,
    history: Path | None,
    overwrite: bool,
    **settings: Any,
) -> None:
    """Train a model on records with known parameters.

    The information head learns no weights but a prior, in one pass, and refuses the options of the
    optimizer.
    """
    check_suffix("--output", output, [".safetensors"])
    check_suffix("--checkpoint", checkpoint, [".safetensors"])
    outputs = {"--output": output, "--history": history}
    check_outputs(outputs, overwrite=overwrite)
    # A checkpoint may exist: training resumes from it.
    check_outputs(outputs | {"--checkpoint": checkpoint}, overwrite=True)
    if history is not None:
        check_data_output("--history", history, overwrite=overwrite)

    if head == "information":
        _check_no_training({"validation": validation, "checkpoint": checkpoint, **settings})
    model = wp.WarpPhys(system, head=head, drive=drive)
    losses = wp.train(
        model,
        wp.read_trajectories(data),
        None if validation is None else wp.read_trajectories(validation),
        checkpoint=checkpoint,
        progress=sys.stderr.isatty(),
        **settings,
    )
    model.save(output, overwrite=overwrite)
    if history is not None:
        wp.save(losses, history, overwrite=overwrite)
    typer.echo(_outcome(losses))
    typer.echo(f"wrote {output}: {model!r}")


def _check_no_training(given: Mapping[str, Any]) -> None:
    """Raise UsageError where an option of training by gradient descent is given."""
    for option in (*TRAINING, VALIDATION, CHECKPOINT):
        if given[option.name] != option.default:
            raise UsageError(
                f"expected no {option.flag} with --head information, which only takes the moments "
                f"of DATA, got {given[option.name]}; leave it out"
            )


def _outcome(history: xr.Dataset) -> str:
    """Return the best validation loss, its step and the time, or the prior, in words."""
    if "prior_mean" in history:
        from warp_phys.command_line.report import prior_table

        return prior_table(history)
    judged = history["validation_loss"].fillna(float("inf")).values
    best, last = history.isel(step=int(judged.argmin())), history.isel(step=-1)
    return (
        f"validation loss {best['validation_loss'].item():.4g} at step {best['step'].item()} of "
        f"{last['step'].item()}, {last['seconds'].item():.0f} s"
    )
