"""`warp-phys fit`: maximum likelihood, with standard errors."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

import warp_phys as wp
from warp_phys.command_line.files import check_data_output, contents
from warp_phys.command_line.options import (
    COLUMNS,
    DISTRIBUTION,
    FIXED,
    INITIAL_STATE,
    LOSS,
    MAYBE_DATA_OUTPUT,
    NOISE_SD,
    OVERWRITE,
    PRIORS,
    REQUIRED,
    TIME_BUDGET,
    Option,
    verb,
)
from warp_phys.command_line.values import (
    parse_bounds,
    parse_known,
    parse_numbers,
    parse_pairs,
    parse_recipes,
    parse_shared,
)
from warp_phys.systems.errors import UsageError

INITIAL = Option(
    "initial", "Start from this estimate or earlier fit (.nc).", "FILE", ("--initial",), type=Path
)
START = Option(
    "start",
    "Where a parameter or initial state starts. Repeatable.",
    "NAME=NUMBER",
    repeatable=True,
    read=parse_numbers,
)
SHOW = Option(
    "show", "Print this trajectory; by default an overview if there are several.", "LABEL"
)
MODEL = Option(
    "system",
    "Name of a system; `warp-phys systems` lists them. Or a PEtab problem: its YAML file, which "
    "names model, measurements, bounds and noise.",
    "SYSTEM",
    default=REQUIRED,
    positional=True,
)
MAYBE_RECORD = Option(
    "record",
    "File with trajectories: .csv, .nc or .h5; none with a PEtab problem.",
    "[RECORD]",
    type=Path,
    positional=True,
)
STATEMENT = (
    replace(
        INITIAL_STATE,
        help="auto (the default: what the data set knows, else estimated), first_sample, estimate "
        "or steady_state; or STATE=NUMBER for each known state, repeatable.",
    ),
    Option(
        "initial_time",
        "The time of the initial state; by default that of the first sample.",
        "TIME",
        type=float,
    ),
    replace(
        FIXED,
        help="A known parameter, or the variable of RECORD (.nc) that holds it. Repeatable.",
        takes="NAME=VALUE",
        read=parse_known,
    ),
    Option(
        "bounds",
        "Bounds of a parameter or state; leave an end empty where it is open. Repeatable.",
        "NAME=LOW:HIGH",
        repeatable=True,
        read=parse_bounds,
    ),
    Option(
        "shared",
        "A parameter or initial state that trajectories have in common: all of them, or those with "
        "the same value of GROUP, a coordinate of RECORD (.nc). Repeatable.",
        "NAME[=GROUP]",
        ("--share", "--shared"),
        repeatable=True,
        read=parse_shared,
    ),
    Option(
        "group",
        "Coordinate of RECORD (.nc) that names the groups of all --share NAME.",
        "NAME",
    ),
    Option(
        "ties",
        "A parameter that follows from others, like k2=2*k1. Repeatable.",
        "NAME=EXPRESSION",
        ("--tie",),
        repeatable=True,
        read=lambda option, texts: parse_pairs(option, texts) or None,
    ),
    replace(PRIORS, read=parse_recipes),
    DISTRIBUTION,
    NOISE_SD,
)
"""The options that a PEtab problem answers itself."""
SETTINGS = (
    LOSS,
    Option(
        "starts",
        "Number of starts; by default 5, or 1 with --initial or --start.",
        "NUMBER",
        type=int,
    ),
    Option(
        "tolerance",
        "Relative step below which a fit has converged.",
        "SHARE",
        type=float,
        default=1e-9,
    ),
    Option("max_iterations", "Most iterations from each start.", "NUMBER", type=int, default=100),
    Option("rtol", "Relative tolerance of the integration.", "SHARE", type=float, default=1e-8),
    TIME_BUDGET,
    Option(
        "level",
        "Probability that a confidence interval holds the true value.",
        "SHARE",
        type=float,
        default=0.95,
    ),
)


@verb(
    MODEL,
    MAYBE_RECORD,
    MAYBE_DATA_OUTPUT,
    INITIAL,
    START,
    *STATEMENT,
    *SETTINGS,
    SHOW,
    *COLUMNS,
    OVERWRITE,
)
def fit(
    system: str,
    record: Path | None,
    output: Path | None,
    initial: Path | None,
    start: dict[str, float] | None,
    show: str | None,
    time: str,
    trajectory: str | None,
    rename: dict[str, str | None] | None,
    overwrite: bool,
    **settings: Any,
) -> None:
    """Fit parameters to records by maximum likelihood.

    Prints the parameters with their errors, what the data do not determine, and how the fit
    went; for several trajectories, an overview.
    """
    if output is not None:
        check_data_output("--output", output, overwrite=overwrite)
    if initial is not None and start:
        raise UsageError("expected --initial or --start, got both; leave out one")
    statement = {option.name: settings.pop(option.name) for option in STATEMENT}

    from warp_phys.results.pick import trajectory_position

    begin = start if initial is None else wp.load(initial)
    model: Any = system
    if Path(system).suffix.lower() in (".yaml", ".yml"):
        columns = dict(zip(COLUMNS, (time, trajectory, rename), strict=True))
        given = {option: statement[option.name] for option in STATEMENT} | columns
        model, data, statement = _petab_problem(Path(system), record, given)
    elif record is None:
        raise UsageError("expected a file with trajectories after the system, got none")
    else:
        data = wp.read_trajectories(record, time=time, trajectory=trajectory, rename=rename)
    if show is not None:
        trajectory_position(data, show)
    found = wp.fit(
        model, data, initial=begin, progress=sys.stderr.isatty(), **statement, **settings
    )
    # Written before anything can go wrong with printing it.
    if output is not None:
        wp.save(found, output, overwrite=overwrite)
    typer.echo(wp.summary(found, show))
    if output is not None:
        typer.echo(f"\nwrote {output}: {contents(found)}")


def _petab_problem(
    path: Path, record: Path | None, given: dict[Option, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """Return the system, the data and the arguments of `fit` of a PEtab problem."""
    if record is not None:
        raise UsageError(f"{path.name} names its measurements; leave out {record.name}")
    for option, value in given.items():
        if value != option.value(option.default):
            raise UsageError(f"{path.name} is a complete problem; leave out {option.flag}")
    system, data, arguments = wp.read_petab(path)
    return system, data, arguments
