"""The command line `warp-phys`: each verb is one public function.

Nothing heavy is imported before a verb runs, so that help answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

import warp_phys as wp
from warp_phys.command_line import options as kinds
from warp_phys.command_line.files import any_file, check_data_output, contents
from warp_phys.command_line.fit import fit, forecast
from warp_phys.command_line.simulate import simulate
from warp_phys.command_line.values import check_outputs, check_suffix, parse_renames
from warp_phys.systems.errors import WarpPhysError

if TYPE_CHECKING:
    import xarray as xr

app = typer.Typer(
    name="warp-phys",
    help="Parameters of known physics from trajectories, at every sample.",
    epilog="Start with: warp-phys simulate lotka_volterra -n 4096 --times 0:20:1 --noise 0.25 "
    "--distribution lognormal -o data.nc",
    no_args_is_help=True,
    # Plain text: drawing boxes would double the time to answer.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command("systems")
def list_systems(name: kinds.MaybeSystemName = None) -> None:
    """List the systems that come with the package, or describe one."""
    from warp_phys.command_line.report import systems_table
    from warp_phys.systems import get_system

    typer.echo(systems_table() if name is None else get_system(name).describe())


app.command()(simulate)


@app.command()
def train(
    system: kinds.SystemName,
    data: kinds.TrainingData,
    output: kinds.ModelOutput,
    head: kinds.Head = "direct",
    drive: kinds.Drive = None,
    steps: kinds.Steps = 6000,
    batch_size: kinds.BatchSize = 128,
    learning_rate: kinds.LearningRate = 4e-3,
    seed: kinds.Seed = 0,
    time_budget: kinds.TimeBudget = None,
    validation: kinds.Validation = None,
    checkpoint: kinds.Checkpoint = None,
    history: kinds.HistoryOutput = None,
    overwrite: kinds.Overwrite = False,
) -> None:
    """Train a model on records with known parameters."""
    check_suffix("--output", output, [".safetensors"])
    check_suffix("--checkpoint", checkpoint, [".safetensors"])
    outputs = {"--output": output, "--history": history}
    check_outputs(outputs, overwrite=overwrite)
    # A checkpoint may exist: training goes on from it.
    check_outputs(outputs | {"--checkpoint": checkpoint}, overwrite=True)
    if history is not None:
        check_data_output("--history", history, overwrite=overwrite)

    model = wp.WarpPhys(system, head=head, drive=drive)
    losses = wp.train(
        model,
        wp.read_trajectories(data),
        None if validation is None else wp.read_trajectories(validation),
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        time_budget=time_budget,
        checkpoint=checkpoint,
        progress=sys.stderr.isatty(),
    )
    model.save(output, overwrite=overwrite)
    if history is not None:
        wp.save(losses, history, overwrite=overwrite)
    typer.echo(_training_words(losses))
    typer.echo(f"wrote {output}: {model!r}")


@app.command()
def estimate(
    model: kinds.ModelFile,
    record: kinds.RecordFile,
    output: kinds.MaybeDataOutput = None,
    level: kinds.Level = 0.9,
    time: kinds.TimeColumn = "time",
    trajectory: kinds.TrajectoryColumn = None,
    rename: kinds.Renames = None,
    overwrite: kinds.Overwrite = False,
) -> None:
    """Estimate the parameters behind records.

    They are estimated at every sample; those at the last one are printed.
    """
    if output is not None:
        check_data_output("--output", output, overwrite=overwrite)
    renames = parse_renames(rename or [])

    from warp_phys.command_line.report import estimates_table, warn_out_of_range

    trained = wp.WarpPhys.load(model)
    data = wp.read_trajectories(record, time=time, trajectory=trajectory, rename=renames)
    found = wp.estimate(trained, data, level=level, progress=sys.stderr.isatty())
    typer.echo(estimates_table(found, trained.system))
    warn_out_of_range(found)
    if output is not None:
        wp.save(found, output, overwrite=overwrite)
        typer.echo(f"\nwrote {output}: {contents(found)}")


app.command()(fit)
app.command()(forecast)


@app.command()
def plot(
    file: kinds.AnyFile,
    output: kinds.FigureOutput,
    trajectory: kinds.TrajectoryLabel = None,
    data: kinds.MaybeData = None,
    time: kinds.TimeColumn = "time",
    rename: kinds.Renames = None,
    overwrite: kinds.Overwrite = False,
) -> None:
    """Draw records, estimates, fits, forecasts or a history."""
    renames = parse_renames(rename or [])

    from warp_phys.results.plots.figure import FIGURE_SUFFIXES, figure_of, save_figure

    check_suffix("--output", output, FIGURE_SUFFIXES)
    check_outputs({"--output": output}, overwrite=overwrite)
    options: dict[str, Any] = {"time": time, "rename": renames}
    figure = figure_of(
        any_file(file, options),
        trajectory=0 if trajectory is None else trajectory,
        data=None if data is None else wp.read_trajectories(data, **options),
    )
    save_figure(figure, output, overwrite=overwrite)
    typer.echo(f"wrote {output}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the package's own errors print one line and exit with 2."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="warp-phys")
    except (WarpPhysError, OSError) as error:
        # A library's own message inside may have several lines.
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(2)


def _training_words(history: xr.Dataset) -> str:
    """Return in words how training went."""
    judged = history["validation_loss"].fillna(float("inf")).values
    best, last = history.isel(step=int(judged.argmin())), history.isel(step=-1)
    return (
        f"validation loss {best['validation_loss'].item():.4g} at step {best['step'].item()} of "
        f"{last['step'].item()}, {last['seconds'].item():.0f} s"
    )
