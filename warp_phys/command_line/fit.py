"""The verbs `fit` and `forecast` of the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

import warp_phys as wp
from warp_phys.command_line import options as kinds
from warp_phys.command_line.files import check_data_output, contents
from warp_phys.command_line.values import (
    check_suffix,
    parse_bounds,
    parse_numbers,
    parse_renames,
    parse_times,
    parse_word_or_numbers,
)
from warp_phys.systems.errors import UsageError


def fit(
    system: kinds.SystemName,
    record: kinds.RecordFile,
    output: kinds.MaybeDataOutput = None,
    initial: kinds.InitialFile = None,
    start: kinds.StartValues = None,
    initial_state: kinds.KnownStates = None,
    initial_time: kinds.InitialTime = None,
    fix: kinds.FixedValues = None,
    bounds: kinds.Bounds = None,
    share: kinds.Shared = None,
    group: kinds.Group = None,
    distribution: kinds.Distribution = "normal",
    noise_sd: kinds.NoiseLevels = None,
    loss: kinds.Loss = "linear",
    starts: kinds.Starts = None,
    tolerance: kinds.Tolerance = 1e-9,
    max_iterations: kinds.MaxIterations = 100,
    rtol: kinds.Rtol = 1e-8,
    time_budget: kinds.TimeBudget = None,
    level: kinds.IntervalLevel = 0.95,
    show: kinds.ShownLabel = None,
    time: kinds.TimeColumn = "time",
    trajectory: kinds.TrajectoryColumn = None,
    rename: kinds.Renames = None,
    overwrite: kinds.Overwrite = False,
) -> None:
    """Fit parameters to records by maximum likelihood.

    What is found is printed: parameters with their errors, what the data do not determine, and
    how the fit went; of several trajectories an overview.
    """
    if output is not None:
        check_data_output("--output", output, overwrite=overwrite)
    if initial is not None and start:
        raise UsageError("expected --initial or --start, got both; leave out one")
    renames = parse_renames(rename or [])

    from warp_phys.results.pick import trajectory_position

    given: dict[str, Any] = {
        "initial": parse_numbers("--start", start or []),
        "initial_state": parse_word_or_numbers("--initial-state", initial_state or [], "auto"),
        "initial_time": initial_time,
        "fixed": parse_numbers("--fix", fix or []),
        "bounds": parse_bounds("--bounds", bounds or []),
        "shared": share,
        "group": group,
        "distribution": distribution,
        "noise_sd": parse_word_or_numbers("--noise-sd", noise_sd or [], "each"),
        "loss": loss,
        "starts": starts,
        "tolerance": tolerance,
        "max_iterations": max_iterations,
        "rtol": rtol,
        "time_budget": time_budget,
        "level": level,
    }
    if initial is not None:
        given["initial"] = wp.load(initial)
    data = wp.read_trajectories(record, time=time, trajectory=trajectory, rename=renames)
    if show is not None:
        trajectory_position(data, show)
    found = wp.fit(system, data, progress=sys.stderr.isatty(), **given)
    # Written before anything can go wrong with printing it.
    if output is not None:
        wp.save(found, output, overwrite=overwrite)
    typer.echo(wp.summary(found, show))
    if output is not None:
        typer.echo(f"\nwrote {output}: {contents(found)}")


def forecast(
    model: kinds.ModelOrFit,
    times: kinds.Times,
    output: kinds.DataOutput,
    record: kinds.MaybeRecordFile = None,
    level: kinds.Level = 0.9,
    seed: kinds.Seed = 0,
    time: kinds.TimeColumn = "time",
    trajectory: kinds.TrajectoryColumn = None,
    rename: kinds.Renames = None,
    overwrite: kinds.Overwrite = False,
) -> None:
    """Forecast records beyond their last sample.

    The physics runs on from the parameters fitted, or estimated at the last sample.
    """
    check_data_output("--output", output, overwrite=overwrite)
    check_suffix("MODEL", model, [".safetensors", ".nc", ".h5", ".hdf5"])
    renames = parse_renames(rename or [])
    grid = parse_times(times)
    show = sys.stderr.isatty()
    if model.suffix.lower() == ".safetensors":
        if record is None:
            raise UsageError(f"expected the records to forecast behind {model.name}: MODEL RECORD")
        options: dict[str, Any] = {"time": time, "trajectory": trajectory, "rename": renames}
        found, system = _estimated(model, record, options, level=level, progress=show)
    else:
        if record is not None:
            raise UsageError(
                f"{model.name} holds fits or estimates, which know their records; leave out "
                f"{record.name}"
            )
        found, system = wp.load(model), None
    ahead = wp.forecast(found, grid, system=system, level=level, seed=seed, progress=show)
    wp.save(ahead, output, overwrite=overwrite)
    bands = f", {100 * level:g} % bands" if "predicted_lower" in ahead else ""
    typer.echo(f"wrote {output}: {contents(ahead)}{bands}")


def _estimated(
    model: Path, record: Path, options: dict[str, Any], *, level: float, progress: bool
) -> tuple[Any, Any]:
    """Return what a trained model says of records, and its system."""
    from warp_phys.command_line.report import warn_out_of_range

    trained = wp.WarpPhys.load(model)
    data = wp.read_trajectories(record, **options)
    found = wp.estimate(trained, data, level=level, progress=progress)
    warn_out_of_range(found)
    return found, trained.system
