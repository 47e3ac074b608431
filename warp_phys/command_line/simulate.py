"""The verb `simulate` of the command line: into a file, or into a folder of shards."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import typer

import warp_phys as wp
from warp_phys.command_line import options as kinds
from warp_phys.command_line.files import check_data_output, contents
from warp_phys.command_line.paper import paper_file
from warp_phys.command_line.values import (
    check_outputs,
    parse_doses,
    parse_levels,
    parse_names,
    parse_recipes,
    parse_times,
)
from warp_phys.systems.errors import UsageError


def simulate(
    system: kinds.SimulatedName,
    output: kinds.FileOrFolder,
    number: kinds.MaybeNumber = None,
    times: kinds.MaybeTimes = None,
    noise: kinds.Noise = None,
    distribution: kinds.Distribution = "normal",
    missing: kinds.Missing = None,
    observe: kinds.Observe = None,
    parameter: kinds.ParameterRecipes = None,
    initial_state: kinds.StateRecipes = None,
    dose: kinds.DoseRecipes = None,
    sampling: kinds.SamplingName = "random",
    constraint: kinds.Constraints = None,
    seed: kinds.MaybeSeed = None,
    shard_size: kinds.ShardSize = None,
    workers: kinds.Workers = None,
    scheduler: kinds.Scheduler = None,
    split: kinds.Split = "train",
    overwrite: kinds.Overwrite = False,
) -> None:
    """Simulate trajectories, with noise and gaps.

    Into a folder (a name without suffix, or with / at its end) they go in many files, each made
    on its own: for data sets larger than memory, by several processes or a cluster.
    """
    given: dict[str, Any] = {
        "parameters": parse_recipes("--parameter", parameter or []),
        "initial_states": parse_recipes("--initial-state", initial_state or []),
        "doses": parse_doses("--dose", dose or []),
        "noise": parse_levels("--noise", noise or []),
        "distribution": distribution,
        "missing": parse_levels("--missing", missing or []),
        "observe": parse_names(observe),
        "sampling": sampling,
        "constraints": constraint or (),
        "seed": seed,
        "progress": sys.stderr.isatty(),
    }
    grid = None if times is None else parse_times(times)
    folder = _is_folder(output)
    if system.startswith("paper_"):
        recipe = {"times": grid} | given
        paper_file(
            system, split, number, seed, recipe, None if folder else output, overwrite=overwrite
        )
        return
    if number is None:
        raise UsageError(f"expected the number of trajectories of {system}; give -n 1000")
    if split != "train":
        raise UsageError(f"--split is for the WARP paper's data sets, not for {system}")
    if folder:
        check_outputs({"--output": Path(output)}, overwrite=True)
    else:
        _check_file(Path(output), shard_size, workers, scheduler, overwrite=overwrite)

    from warp_phys.systems import get_system

    known = get_system(system)
    grid = list(known.default_times) if grid is None else grid
    if folder:
        place = {"output": output, "shard_size": shard_size, "overwrite": overwrite}
        with _executor(workers, scheduler) as executor:
            _into_folder(known, number, grid, given | place | {"executor": executor})
    else:
        _into_file(known, number, grid, given, Path(output), overwrite=overwrite)


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


@contextlib.contextmanager
def _executor(workers: int | None, scheduler: str | None) -> Iterator[Executor | None]:
    """Yield what makes the shards: processes, a cluster, or None for this process alone."""
    if workers is not None and scheduler is not None:
        raise UsageError("expected --workers or --scheduler, got both; leave out one")
    if scheduler is not None:
        with _client(scheduler) as client:
            yield client.get_executor()
    elif workers is None or workers == 1:
        yield None
    else:
        with _pool(workers) as pool:
            yield pool


def _pool(workers: int) -> Executor:
    """Return processes that start afresh, so that no thread or lock of this one is in them."""
    from concurrent.futures import ProcessPoolExecutor

    if workers < 1:
        raise UsageError(f"expected --workers of 1 or more, got {workers}")
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """End this worker when the process that started it is killed; else it would wait forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _client(address: str) -> Any:
    """Return a client of a dask.distributed cluster."""
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(
            '--scheduler needs dask.distributed: pip install "warp-phys[cluster]"'
        ) from None
    try:
        return Client(address)
    except (OSError, ValueError) as error:
        raise UsageError(f"no dask scheduler answers at {address}: {error}") from error
