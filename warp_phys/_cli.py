"""The command line `warp-phys`: each verb is one public function.

Nothing heavy is imported before a verb runs, so that help answers at once.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import warp_phys as wp
from warp_phys._cli_values import (
    check_outputs,
    check_suffix,
    parse_levels,
    parse_names,
    parse_recipes,
    parse_renames,
    parse_times,
)
from warp_phys.systems._errors import SchemaError, WarpPhysError

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

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output files.")]
SystemName = Annotated[str, typer.Argument(help="Name of a system, see `warp-phys systems`.")]
DataOutput = Annotated[Path, typer.Option("--output", "-o", help="NetCDF file to write (.nc).")]
ModelFile = Annotated[Path, typer.Argument(help="A trained model (.safetensors).")]
RecordFile = Annotated[Path, typer.Argument(help="Trajectories: .csv, .nc or .h5.")]
Times = Annotated[
    str, typer.Option(metavar="TIMES", help="START:STOP:STEP, STOP included, or a list 0,1,2.5.")
]
TimeColumn = Annotated[
    str, typer.Option("--time", metavar="COLUMN", help="Column of RECORD with the sample times.")
]
TrajectoryColumn = Annotated[
    str | None,
    typer.Option(
        "--trajectory",
        metavar="COLUMN",
        help="Column that tells trajectories apart; 'trajectory' where there is one.",
    ),
]
Rename = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=OUTPUT",
        help="Column that holds an output of another name (COLUMN= leaves it out); repeatable.",
    ),
]
Level = Annotated[float, typer.Option(help="Probability inside the bands.")]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]


@app.command("systems")
def list_systems(
    name: Annotated[str | None, typer.Argument(help="Describe this one.")] = None,
) -> None:
    """List the systems that come with the package, or describe one."""
    from warp_phys._cli_report import systems_table
    from warp_phys.systems import get_system

    typer.echo(systems_table() if name is None else get_system(name).describe())


@app.command()
def simulate(
    system: SystemName,
    number: Annotated[int, typer.Option("--number", "-n", help="Number of trajectories.")],
    output: DataOutput,
    times: Annotated[
        str | None,
        typer.Option(
            metavar="TIMES",
            help="START:STOP:STEP, STOP included, or a list 0,1,2.5; the system's own by default.",
        ),
    ] = None,
    noise: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NOISE",
            help="A number, relative to each output's spread (with --distribution lognormal the "
            "sd of the logarithm); or OUTPUT=RECIPE, absolute, repeatable.",
        ),
    ] = None,
    distribution: Annotated[str, typer.Option(help="Of the noise: normal or lognormal.")] = (
        "normal"
    ),
    missing: Annotated[
        list[str] | None,
        typer.Option(metavar="SHARE", help="Share of values missing, or OUTPUT=SHARE, repeatable."),
    ] = None,
    observe: Annotated[
        str | None, typer.Option(metavar="A,B", help="Outputs observed; all by default.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=RECIPE",
            help="RECIPE: 1.0, a range 0.5:2.0, lognormal(median,sigma), normal(mean,sd), "
            "truncated_normal(mean,sd[,low,high]), uniform(low,high) or loguniform(low,high). "
            "Repeatable; the system's own ranges by default.",
        ),
    ] = None,
    initial_state: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=RECIPE", help="The same for states at the first time."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of all random numbers; a fresh one by default.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Simulate trajectories of a system and what an instrument would have seen of them."""
    recipes = parse_recipes("--parameter", parameter or [])
    starts = parse_recipes("--initial-state", initial_state or [])
    levels = parse_levels("--noise", noise or [])
    shares = parse_levels("--missing", missing or [])
    grid = None if times is None else parse_times(times)
    _check_data_output("--output", output, overwrite=overwrite)

    from warp_phys._cli_report import warn_failed
    from warp_phys.data_gen import simulate as simulate_data
    from warp_phys.systems import get_system

    known = get_system(system)
    data = simulate_data(
        known,
        number,
        known.default_times if grid is None else grid,
        parameters=recipes,
        initial_states=starts,
        noise=levels,
        distribution=distribution,  # type: ignore[arg-type] # simulate checks the text
        missing=shares,
        observe=parse_names(observe),
        seed=seed,
    )
    warn_failed(data)
    wp.save(data, output, overwrite=overwrite)
    typer.echo(f"wrote {output}: {_contents(data)}, seed {data.attrs['seed']}")


@app.command()
def train(
    system: SystemName,
    data: Annotated[Path, typer.Argument(help="Records to learn from, from `simulate`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model to write (.safetensors).")],
    head: Annotated[
        str, typer.Option(help="What the hidden state is: direct, weights or readout.")
    ] = "direct",
    drive: Annotated[
        str | None,
        typer.Option(help="What moves it: features, difference or raw; the head's own by default."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 6000,
    batch_size: Annotated[int, typer.Option(help="Records a step.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Learning rate at its highest.")] = 4e-3,
    seed: Seed = 0,
    time_budget: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Stop after this time.")
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="Records kept out; a tenth of DATA by default.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="File to go on from after an interruption (.safetensors).")
    ] = None,
    history: Annotated[
        Path | None, typer.Option(help="NetCDF file for the losses over the steps (.nc).")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a model on records with known parameters."""
    check_suffix("--output", output, [".safetensors"])
    check_suffix("--checkpoint", checkpoint, [".safetensors"])
    outputs = {"--output": output, "--history": history}
    check_outputs(outputs, overwrite=overwrite)
    # A checkpoint may exist: training goes on from it.
    check_outputs(outputs | {"--checkpoint": checkpoint}, overwrite=True)
    if history is not None:
        _check_data_output("--history", history, overwrite=overwrite)

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
    judged = losses["validation_loss"]
    best = int(judged.argmin())
    typer.echo(
        f"validation loss {float(judged[best]):.4g} at step {int(losses['step'][best])} of "
        f"{int(losses['step'][-1])}, {float(losses['seconds'][-1]):.0f} s"
    )
    typer.echo(f"wrote {output}: {model!r}")


@app.command()
def estimate(
    model: ModelFile,
    record: RecordFile,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="NetCDF file to write (.nc).")
    ] = None,
    level: Level = 0.9,
    time: TimeColumn = "time",
    trajectory: TrajectoryColumn = None,
    rename: Rename = None,
    overwrite: Overwrite = False,
) -> None:
    """Estimate the parameters behind records at every sample; print those at the last."""
    if output is not None:
        _check_data_output("--output", output, overwrite=overwrite)
    renames = parse_renames(rename or [])

    from warp_phys._cli_report import estimates_table, warn_out_of_range

    trained = wp.WarpPhys.load(model)
    data = wp.read_trajectories(record, time=time, trajectory=trajectory, rename=renames)
    found = wp.estimate(trained, data, level=level, progress=sys.stderr.isatty())
    typer.echo(estimates_table(found, trained.system))
    warn_out_of_range(found)
    if output is not None:
        wp.save(found, output, overwrite=overwrite)
        typer.echo(f"\nwrote {output}: {_contents(found)}")


@app.command()
def forecast(
    model: ModelFile,
    record: RecordFile,
    times: Times,
    output: DataOutput,
    level: Level = 0.9,
    seed: Seed = 0,
    time: TimeColumn = "time",
    trajectory: TrajectoryColumn = None,
    rename: Rename = None,
    overwrite: Overwrite = False,
) -> None:
    """Forecast records: the physics run on from the parameters at the last sample."""
    _check_data_output("--output", output, overwrite=overwrite)
    renames = parse_renames(rename or [])
    grid = parse_times(times)

    from warp_phys._cli_report import warn_out_of_range

    trained = wp.WarpPhys.load(model)
    data = wp.read_trajectories(record, time=time, trajectory=trajectory, rename=renames)
    show = sys.stderr.isatty()
    found = wp.estimate(trained, data, level=level, progress=show)
    warn_out_of_range(found)
    ahead = wp.forecast(found, grid, system=trained.system, level=level, seed=seed, progress=show)
    wp.save(ahead, output, overwrite=overwrite)
    typer.echo(f"wrote {output}: {_contents(ahead)}, {100 * level:g} % bands")


@app.command()
def plot(
    file: Annotated[Path, typer.Argument(help="What any other verb wrote, or trajectories.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Figure: .png, .pdf or .svg.")],
    trajectory: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Label of one; the first by default.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Records to draw with an estimate or forecast.")
    ] = None,
    time: TimeColumn = "time",
    rename: Rename = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw what a file holds: records, estimates, forecasts or a training history."""
    renames = parse_renames(rename or [])

    from warp_phys._plot_figure import FIGURE_SUFFIXES, figure_of, save_figure

    check_suffix("--output", output, FIGURE_SUFFIXES)
    check_outputs({"--output": output}, overwrite=overwrite)
    options: dict[str, Any] = {"time": time, "rename": renames}
    figure = figure_of(
        _any_file(file, options),
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
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


def _any_file(path: Path, options: dict[str, Any]) -> xr.Dataset:
    """Return a file of this package as it is; anything else is read as trajectories."""
    if path.suffix.lower() != ".csv":
        with contextlib.suppress(SchemaError):
            return wp.load(path)
    return wp.read_trajectories(path, **options)


def _check_data_output(option: str, path: Path, *, overwrite: bool) -> None:
    from warp_phys.systems._files import SUFFIXES

    check_suffix(option, path, SUFFIXES)
    check_outputs({option: path}, overwrite=overwrite)


def _contents(data: xr.Dataset) -> str:
    """Return in words how many trajectories and samples a data set holds."""
    trajectories, samples = (
        data.sizes["trajectory"],
        data.sizes.get("time", data.sizes.get("sample")),
    )
    plural = "y" if trajectories == 1 else "ies"
    return f"{trajectories} trajector{plural} of {data.attrs['system']}, {samples} samples"
