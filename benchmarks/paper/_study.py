"""The study: all cells, on several processes, each kept as soon as it is done."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.paper._cells import (
    LEARNING_RATES,
    Cell,
    Extent,
    result_cells,
    tuned_on,
    tuning_cells,
)
from benchmarks.paper._one_cell import run_cell
from warp_phys.systems.errors import UsageError

Lines = list[dict[str, Any]]


class Store:
    """A text file with one line for each cell that is done.

    A killed run loses what was under way: a line that was not written to its end is left out.

    Args:
        path: Made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lines: dict[str, Lines] = {}
        for text in path.read_text().splitlines() if path.exists() else []:
            self._take(text)

    def read(self, cell: Cell) -> Lines | None:
        """Return the lines of a cell, None where it has not been done."""
        return self._lines.get(cell.key)

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return which cells have not been done, or ended with what was no `UsageError`."""
        found = [(cell, self.read(cell)) for cell in cells]
        return [
            cell for cell, lines in found if lines is None or any("again" in line for line in lines)
        ]

    def write(self, cell: Cell, lines: Lines) -> None:
        """Keep the lines of a cell."""
        text = json.dumps({"key": cell.key, "lines": lines}, default=_plain)
        # The line break in front ends a line that was cut off.
        with self.path.open("a") as file:
            file.write(f"\n{text}")
            file.flush()
            os.fsync(file.fileno())
        self._take(text)

    def _take(self, text: str) -> None:
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            return
        self._lines[found["key"]] = found["lines"]


def run_study(extent: Extent, store: Store, *, workers: int, minutes: float | None) -> None:
    """Do what is missing of a study: first the tuning, then all tables.

    Args:
        extent: How large it is.
        store: Where cells are kept.
        workers: Processes, one thread each.
        minutes: After which no further cell is begun; None to go on to the end.
    """
    with _pool(workers) as pool, tqdm(unit="cell", desc="study") as bar:
        deadline = None if minutes is None else time.monotonic() + 60.0 * minutes
        for cells in (list(tuning_cells(extent)), list(result_cells(extent))):
            missing = store.missing(cells)
            # A change of the tuning outdates what was trained at another rate.
            missing += [cell for cell in cells if _at_another_rate(cell, store)]
            bar.reset(total=len(missing))
            _run(pool, missing, store, workers, bar, deadline)


def lines_of(extent: Extent, store: Store) -> list[tuple[Cell, dict[str, Any]]]:
    """Return what is done of a study."""
    found = []
    for cell in (*tuning_cells(extent), *result_cells(extent)):
        found += [(cell, line) for line in store.read(cell) or []]
    return found


def tuned_rate(cell: Cell, store: Store) -> float:
    """Return the learning rate with the lowest validation loss in the tuning of a cell's row."""
    if cell.learning_rate is not None:
        return cell.learning_rate
    losses = {}
    for other in tuning_cells(cell.extent):
        if (other.row, other.task) == (cell.row, tuned_on(cell.task)):
            lines = store.read(other)
            if lines and other.learning_rate is not None and "validation" in lines[0]:
                losses[other.learning_rate] = lines[0]["validation"]
    return min(losses, key=lambda rate: losses[rate]) if losses else LEARNING_RATES[0]


def _at_another_rate(cell: Cell, store: Store) -> bool:
    lines = store.read(cell)
    if not lines or "error" in lines[0] or not cell.definition.trained:
        return False
    return bool(lines[0]["learning_rate"] != tuned_rate(cell, store))


def _run(
    pool: ProcessPoolExecutor,
    cells: Sequence[Cell],
    store: Store,
    workers: int,
    bar: Any,
    deadline: float | None,
) -> None:
    """Run cells in their order, no more at once than there are workers."""
    pending: dict[Future[Lines], Cell] = {}
    waiting = iter(cells)
    while True:
        late = deadline is not None and time.monotonic() > deadline
        while len(pending) < workers and not late:
            cell = next(waiting, None)
            if cell is None:
                break
            bar.set_postfix_str(cell.describe())
            pending[pool.submit(_safely, cell, tuned_rate(cell, store))] = cell
        if not pending:
            return
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            store.write(pending.pop(future), future.result())
            bar.update()


def _safely(cell: Cell, learning_rate: float) -> Lines:
    """Run a cell; what cannot be trained is kept as such, for the rest must go on."""
    try:
        return run_cell(cell, learning_rate)
    except UsageError as error:
        return [{"error": str(error), "root": ""}]
    except Exception:
        # It may be the machine's fault, or mended by now: the next run tries again.
        return [{"error": traceback.format_exc(), "root": "", "again": True}]


def _pool(workers: int) -> ProcessPoolExecutor:
    # Before a worker imports torch, so that it starts no threads that fight over the cores.
    os.environ["OMP_NUM_THREADS"] = "1"
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"no plain form of {type(value).__name__}")


def failures(lines: Iterable[tuple[Cell, Mapping[str, Any]]]) -> list[str]:
    """Return in words which cells ended with an error."""
    return [f"{cell.describe()}: {line['error']}" for cell, line in lines if "error" in line]
