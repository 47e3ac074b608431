"""Arguments and options that the verbs of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def argument(metavar: str, text: str) -> typer.models.ArgumentInfo:
    """Return a positional argument with its name in capitals and its help."""
    info: typer.models.ArgumentInfo = typer.Argument(metavar=metavar, help=text)
    return info


def option(metavar: str, text: str, *names: str) -> typer.models.OptionInfo:
    """Return an option with what it takes in capitals and its help."""
    info: typer.models.OptionInfo = typer.Option(*names, metavar=metavar, help=text)
    return info


_GRID = "START:STOP:STEP, STOP included, or a list 0,1,2.5"
_RECIPE = (
    "RECIPE: 1.0, a range 0.5:2.0, lognormal(median,sigma), normal(mean,sd), "
    "truncated_normal(mean,sd[,low,high]), uniform(low,high) or loguniform(low,high). Repeatable; "
    "the system's own ranges by default."
)

# Shared by several verbs.
SystemName = Annotated[str, argument("SYSTEM", "Name of a system, see `warp-phys systems`.")]
ModelFile = Annotated[Path, argument("MODEL", "A trained model (.safetensors).")]
RecordFile = Annotated[Path, argument("RECORD", "Trajectories: .csv, .nc or .h5.")]
DataOutput = Annotated[Path, option("FILE", "NetCDF file to write (.nc).", "--output", "-o")]
MaybeDataOutput = Annotated[
    Path | None, option("FILE", "NetCDF file to write (.nc).", "--output", "-o")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output files.")]
Level = Annotated[float, option("SHARE", "Probability inside the bands.")]
Seed = Annotated[int, option("NUMBER", "Seed of all random numbers.")]
TimeColumn = Annotated[str, option("COLUMN", "Column of the sample times.", "--time")]
TrajectoryColumn = Annotated[
    str | None,
    option(
        "COLUMN",
        "Column that tells trajectories apart; 'trajectory' where there is one.",
        "--trajectory",
    ),
]
Renames = Annotated[
    list[str] | None,
    option(
        "COLUMN=OUTPUT",
        "Column that holds an output of another name (COLUMN= leaves it out). Repeatable.",
        "--rename",
    ),
]

# Of `systems`.
MaybeSystemName = Annotated[str | None, argument("NAME", "Describe this one.")]

# Of `simulate`.
SimulatedName = Annotated[
    str,
    argument("SYSTEM", "Name of a system, see `warp-phys systems`, or of a data set, paper_msd."),
]
MaybeNumber = Annotated[
    int | None,
    option(
        "N",
        "Number of trajectories; for the WARP paper's data sets the published one by default.",
        "--number",
        "-n",
    ),
]
Split = Annotated[str, option("NAME", "Of the WARP paper's data sets: train, validation or test.")]
MaybeTimes = Annotated[str | None, option("TIMES", f"{_GRID}; the system's own by default.")]
Noise = Annotated[
    list[str] | None,
    option(
        "NOISE",
        "A number, relative to each output's spread (with --distribution lognormal the sd of the "
        "logarithm); or OUTPUT=RECIPE, absolute. Repeatable.",
    ),
]
Distribution = Annotated[str, option("NAME", "Of the noise: normal or lognormal.")]
Missing = Annotated[
    list[str] | None, option("SHARE", "Share of values missing, or OUTPUT=SHARE. Repeatable.")
]
Observe = Annotated[str | None, option("A,B", "Outputs observed; all by default.")]
ParameterRecipes = Annotated[list[str] | None, option("NAME=RECIPE", _RECIPE, "--parameter")]
StateRecipes = Annotated[
    list[str] | None,
    option("NAME=RECIPE", "The same for states at the first time.", "--initial-state"),
]
MaybeSeed = Annotated[
    int | None,
    option("NUMBER", "Seed of all random numbers; fresh by default, 0 for paper_ data."),
]
FileOrFolder = Annotated[
    str,
    option(
        "PATH",
        "NetCDF file to write (.nc); or a folder, for data sets larger than memory: the same "
        "command goes on where it was stopped.",
        "--output",
        "-o",
    ),
]
DoseRecipes = Annotated[
    list[str] | None,
    option("STATE=AMOUNT@TIME", "A dose; AMOUNT and TIME are each a RECIPE. Repeatable.", "--dose"),
]
SamplingName = Annotated[
    str,
    option("NAME", "How parameters and states are drawn: random, sobol or latin_hypercube."),
]
Constraints = Annotated[
    list[str] | None,
    option("TEXT", 'What they must meet, such as "beta > gamma". Repeatable.', "--constraint"),
]
ShardSize = Annotated[
    int | None,
    option("NUMBER", "Trajectories in each file of a folder; by default what takes 64 MiB."),
]
Workers = Annotated[
    int | None, option("NUMBER", "Processes on this machine that make the files of a folder.")
]
Scheduler = Annotated[
    str | None,
    option("ADDRESS", "Scheduler of a dask.distributed cluster that makes them instead."),
]

# Of `train`.
TrainingData = Annotated[Path, argument("DATA", "Records to learn from, from `simulate`.")]
ModelOutput = Annotated[Path, option("FILE", "Model to write (.safetensors).", "--output", "-o")]
Head = Annotated[str, option("NAME", "What the hidden state is: direct, weights or readout.")]
Drive = Annotated[
    str | None,
    option("NAME", "What moves it: features, difference or raw; the head's own by default."),
]
Steps = Annotated[int, option("NUMBER", "Optimizer steps.")]
BatchSize = Annotated[int, option("NUMBER", "Records a step.")]
LearningRate = Annotated[float, option("RATE", "Learning rate at its highest.")]
TimeBudget = Annotated[float | None, option("SECONDS", "Stop after this time.")]
Validation = Annotated[
    Path | None, option("FILE", "Records kept out of training; a tenth of DATA by default.")
]
Checkpoint = Annotated[
    Path | None, option("FILE", "File to go on from after an interruption (.safetensors).")
]
HistoryOutput = Annotated[
    Path | None, option("FILE", "NetCDF file for the losses over the steps (.nc).")
]

# Of `fit`.
InitialFile = Annotated[
    Path | None, option("FILE", "Start from this estimate or earlier fit (.nc).", "--initial")
]
StartValues = Annotated[
    list[str] | None,
    option("NAME=NUMBER", "Start of a parameter or initial state. Repeatable.", "--start"),
]
KnownStates = Annotated[
    list[str] | None,
    option(
        "KIND",
        "auto (what the data set knows, else estimated; the default), first_sample or estimate; "
        "or STATE=NUMBER for those that are known, repeatable.",
        "--initial-state",
    ),
]
InitialTime = Annotated[
    float | None,
    option("TIME", "When the initial state holds; at the first sample by default."),
]
FixedValues = Annotated[
    list[str] | None, option("NAME=NUMBER", "A known parameter. Repeatable.", "--fix")
]
Bounds = Annotated[
    list[str] | None,
    option("NAME=LOW:HIGH", "Ends of a parameter or state, empty where open. Repeatable."),
]
Shared = Annotated[
    list[str] | None,
    option("NAME", "A parameter that all trajectories have in common. Repeatable.", "--share"),
]
Group = Annotated[
    str | None,
    option("NAME", "Coordinate of RECORD (.nc): only trajectories of one group share."),
]
NoiseLevels = Annotated[
    list[str] | None,
    option(
        "LEVEL",
        "each (an unknown level for each output; the default) or common; or OUTPUT=NUMBER for "
        "known levels, repeatable.",
        "--noise-sd",
    ),
]
Loss = Annotated[str, option("NAME", "linear, or huber, for which outliers count less.")]
Starts = Annotated[
    int | None, option("NUMBER", "Starts; 5 by default, 1 with --initial or --start.")
]
Tolerance = Annotated[float, option("SHARE", "Relative step at which a fit has converged.")]
MaxIterations = Annotated[int, option("NUMBER", "Steps tried for each start.")]
Rtol = Annotated[float, option("SHARE", "Relative tolerance of the integration.")]
IntervalLevel = Annotated[float, option("SHARE", "Probability inside the confidence intervals.")]
ShownLabel = Annotated[
    str | None,
    option("LABEL", "Print this trajectory; of several, an overview by default.", "--show"),
]

# Of `forecast` and `plot`.
ModelOrFit = Annotated[
    Path, argument("MODEL", "A trained model (.safetensors), or a file from `fit` (.nc).")
]
MaybeRecordFile = Annotated[
    Path | None, argument("RECORD", "Trajectories, with a trained model: .csv, .nc or .h5.")
]
Times = Annotated[str, option("TIMES", f"When to forecast: {_GRID}.")]
AnyFile = Annotated[Path, argument("FILE", "What any other verb wrote, or trajectories.")]
FigureOutput = Annotated[
    Path, option("FILE", "Figure to write: .png, .pdf or .svg.", "--output", "-o")
]
TrajectoryLabel = Annotated[
    str | None, option("LABEL", "Label of one; the first by default.", "--trajectory")
]
MaybeData = Annotated[
    Path | None,
    option("FILE", "Records (and their truth) to draw with an estimate, fit or forecast."),
]
