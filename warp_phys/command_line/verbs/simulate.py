"""`warp-phys simulate`: a data set, as one file or as a folder of shards."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import typer

import warp_phys as wp
from warp_phys.command_line.files import check_data_output, contents
from warp_phys.command_line.options import (
    DISTRIBUTION,
    GRID,
    OVERWRITE,
    RECIPE,
    REQUIRED,
    Option,
    read_times,
    verb,
)
from warp_phys.command_line.paper import paper_file
from warp_phys.command_line.values import (
    check_outputs,
    parse_doses,
    parse_levels,
    parse_names,
    parse_recipes,
)
from warp_phys.command_line.workers import executor_of
from warp_phys.systems.errors import UsageError

SYSTEM = Option(
    "system",
    "Name of a system (`warp-phys systems` lists them), or of a data set of the WARP paper, such "
    "as paper_msd.",
    "SYSTEM",
    default=REQUIRED,
    positional=True,
)
OUTPUT = Option(
    "output",
    "NetCDF file to write (.nc); or a folder, for data sets larger than memory: if interrupted, "
    "the same command resumes.",
    "PATH",
    ("--output", "-o"),
    default=REQUIRED,
)
NUMBER = Option(
    "n",
    "Number of trajectories; for the WARP paper's data sets by default the published number.",
    "N",
    ("--number", "-n"),
    type=int,
)
TIMES = Option("times", f"{GRID}; by default the system's own.", "TIMES", read=read_times)
SETTINGS = (
    Option(
        "noise",
        "A number, relative to each output's spread (with --distribution lognormal the standard "
        "deviation of the logarithm); or OUTPUT=RECIPE, absolute. Repeatable.",
        "NOISE",
        repeatable=True,
        read=parse_levels,
    ),
    DISTRIBUTION,
    Option(
        "missing",
        "Share of values that are missing, or OUTPUT=SHARE. Repeatable.",
        "SHARE",
        repeatable=True,
        read=parse_levels,
    ),
    Option("observe", "Outputs to observe; by default all.", "A,B", read=parse_names),
    Option(
        "parameters",
        f"RECIPE: 1.0, {RECIPE}",
        "NAME=RECIPE",
        ("--parameter",),
        repeatable=True,
        read=parse_recipes,
    ),
    Option(
        "initial_states",
        "The same for states at the first time.",
        "NAME=RECIPE",
        ("--initial-state",),
        repeatable=True,
        read=parse_recipes,
    ),
    Option(
        "doses",
        "A dose; AMOUNT and TIME are each a RECIPE. Repeatable.",
        "STATE=AMOUNT@TIME",
        ("--dose",),
        repeatable=True,
        read=parse_doses,
    ),
    Option(
        "sampling",
        "Sampling design of parameters and states, such as random, sobol or latin_hypercube.",
        "NAME",
        default="random",
    ),
    Option(
        "constraints",
        'A condition that drawn values must meet, such as "beta > gamma". Repeatable.',
        "TEXT",
        ("--constraint",),
        repeatable=True,
        read=lambda _, texts: tuple(texts),
    ),
    Option(
        "seed",
        "Seed for all random numbers; by default a new one, or 0 for the WARP paper's data sets.",
        "NUMBER",
        type=int,
    ),
)
SHARD_SIZE = Option(
    "shard_size",
    "Trajectories in each file of a folder; by default as many as take 64 MiB.",
    "NUMBER",
    type=int,
)
WORKERS = Option(
    "workers",
    "Number of processes on this machine that make the files of a folder.",
    "NUMBER",
    type=int,
)
SCHEDULER = Option(
    "scheduler",
    "Address of a dask.distributed scheduler whose cluster makes the files instead.",
    "ADDRESS",
)
SPLIT = Option(
    "split",
    "Part of a data set of the WARP paper: train, validation or test.",
    "NAME",
    default="train",
)
SHARDS = (SHARD_SIZE, WORKERS, SCHEDULER)


@verb(SYSTEM, OUTPUT, NUMBER, TIMES, *SETTINGS, *SHARDS, SPLIT, OVERWRITE)
def simulate(
    system: str,
    output: str,
    n: int | None,
    times: list[float] | None,
    shard_size: int | None,
    workers: int | None,
    scheduler: str | None,
    split: str,
    overwrite: bool,
    **settings: Any,
) -> None:
    """Simulate trajectories, with noise and gaps.

    If --output is a folder (a name without a suffix, or ending in /), the trajectories are written
    to many files, each made on its own: for data sets larger than memory, by several processes or
    a cluster.
    """
    settings["progress"] = sys.stderr.isatty()
    folder = _is_folder(output)
    if system.startswith("paper_"):
        path = None if folder else Path(output)
        paper_file(system, split, n, {"times": times} | settings, path, overwrite=overwrite)
        return
    if n is None:
        raise UsageError(f"expected the number of trajectories of {system}; give -n 1000")
    if split != "train":
        raise UsageError(f"--split is for the WARP paper's data sets, not for {system}")
    if folder:
        check_outputs({"--output": Path(output)}, overwrite=True)
    else:
        _check_file(Path(output), shard_size, workers, scheduler, overwrite=overwrite)

    from warp_phys.systems import get_system

    known = get_system(system)
    grid = list(known.default_times) if times is None else times
    if folder:
        place = {"output": output, "shard_size": shard_size, "overwrite": overwrite}
        with executor_of(workers, scheduler) as executor:
            _into_folder(known, n, grid, settings | place | {"executor": executor})
    else:
        _into_file(known, n, grid, settings, Path(output), overwrite=overwrite)


def _is_folder(output: str) -> bool:
    path = Path(output)
    return output.endswith(("/", os.sep)) or path.is_dir() or not path.suffix


def _check_file(
    path: Path,
    shard_size: int | None,
    workers: int | None,
    scheduler: str | None,
    *,
    overwrite: bool,
) -> None:
    options = {"--shard-size": shard_size, "--workers": workers, "--scheduler": scheduler}
    for option, value in options.items():
        if value is not None:
            raise UsageError(f"{option} needs a folder as --output, such as {path.stem}/")
    check_data_output("--output", path, overwrite=overwrite)


def _into_file(
    system: Any, n: int, grid: list[float], given: dict[str, Any], path: Path, *, overwrite: bool
) -> None:
    from warp_phys.command_line.report import warn_failed
    from warp_phys.data_gen import simulate as simulate_data

    data = simulate_data(system, n, grid, **given)
    warn_failed(data)
    wp.save(data, path, overwrite=overwrite)
    typer.echo(f"wrote {path}: {contents(data)}, seed {data.attrs['seed']}")


def _into_folder(system: Any, n: int, grid: list[float], given: dict[str, Any]) -> None:
    from warp_phys.command_line.report import warn, warn_counted
    from warp_phys.data_gen import simulate as simulate_data
    from warp_phys.data_gen.storing.manifest import read_manifest

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: warn(str(message))
        data = simulate_data(system, n, grid, **given)
    manifest = read_manifest(Path(given["output"]))
    warn_counted(manifest.status)
    shards = len(manifest.shards)
    typer.echo(
        f"wrote {given['output']}: {contents(data)}, {shards} shard{'' if shards == 1 else 's'}, "
        f"seed {data.attrs['seed']}"
    )
