"""What the main table says, in short: the best of each kind, and who is better than it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from benchmarks.paper._found import (
    NOT_OF_IT,
    QUOTED,
    TASKS,
    Found,
    label,
    markdown_table,
    number,
    quoted_error,
    rows_and_roots,
)
from benchmarks.paper._rows import ROWS

_NONE = "none"


class Entry(NamedTuple):
    """A row of the main table on one task."""

    words: str
    kind: str
    error: float


def findings(found: Found) -> str:
    """Return two tables: WARP-Phys against all others, and data-driven WARP against its rivals."""
    return f"{_physics_table(found)}\n\n{_warp_table(found)}"


def forecasts(found: Found, task: str) -> list[Entry]:
    """Return all rows that forecast a task, without what `fit` makes of a start, best first.

    Models that see their target before they answer do not forecast.
    """
    entries = []
    for row, root in rows_and_roots():
        errors = found.values(("main", task, row, root), "mse")
        if errors and root != "fit" and not ROWS[row].everywhere:
            entries.append(Entry(label(row, root), ROWS[row].kind, float(np.mean(errors))))
    return sorted(entries, key=lambda entry: entry.error)


def _best(entries: Iterable[Entry], *kinds: str) -> Entry | None:
    return next((entry for entry in entries if entry.kind in kinds), None)


def _better(entries: Iterable[Entry], than: Entry, *kinds: str) -> str:
    names = [e.words for e in entries if e.kind in kinds and e.error < than.error]
    return "; ".join(names) or _NONE


def _physics_table(found: Found) -> str:
    heads = [
        "task",
        "best head of WARP-Phys, without fit",
        "error",
        "paper's WARP-Phys",
        "over it",
        "best data-driven model",
        "error",
        "over WARP-Phys",
        "controls with a smaller error than WARP-Phys",
    ]
    note = (
        "The best rows of the main table, by the mean over the seeds; test sets decide nothing but "
        "which row is named. `fit`, which brings every start to the same errors as least squares, "
        "is left out. Over: how many times as large."
    )
    body = [row for task in TASKS if (row := _physics_row(found, task))]
    return markdown_table("WARP-Phys in short", note, heads, body)


def _physics_row(found: Found, task: str) -> list[str]:
    entries = forecasts(found, task)
    physics, rival = _best(entries, "WARP-Phys"), _best(entries, "WARP", "data-driven")
    if physics is None or rival is None:
        return []
    quoted = QUOTED["WARP-Phys"].get(task, NOT_OF_IT)
    over = NOT_OF_IT
    if quoted != NOT_OF_IT:
        over = _ratio(float(quoted) * 10.0 ** TASKS[task][1], physics.error)
    return [
        _head(task),
        physics.words,
        _error(task, physics),
        quoted,
        over,
        rival.words,
        _error(task, rival),
        _ratio(rival.error, physics.error),
        _better(entries, physics, "control"),
    ]


def _warp_table(found: Found) -> str:
    heads = [
        "task",
        "best WARP",
        "error",
        "paper's WARP",
        "best rival",
        "error",
        "rivals with a smaller error than the best WARP",
        "the same, than WARP with diagonal A",
    ]
    note = "As above, without physics. † Of full sequences, with the target shown to the model."
    body = [row for task in TASKS if (row := _warp_row(found, task))]
    return markdown_table("Data-driven WARP in short", note, heads, body)


def _warp_row(found: Found, task: str) -> list[str]:
    entries = forecasts(found, task)
    warp, rival = _best(entries, "WARP"), _best(entries, "data-driven")
    diagonal = next((entry for entry in entries if entry.words == "WARP, diagonal A"), None)
    if warp is None or rival is None or diagonal is None:
        return []
    return [
        _head(task),
        warp.words,
        _error(task, warp),
        quoted_error("WARP", task),
        rival.words,
        _error(task, rival),
        _better(entries, warp, "data-driven"),
        _better(entries, diagonal, "data-driven"),
    ]


def _head(task: str) -> str:
    words, power = TASKS[task]
    return f"{words} (x1e{power})"


def _error(task: str, entry: Entry) -> str:
    return number(entry.error / 10.0 ** TASKS[task][1])


def _ratio(larger: float, smaller: float) -> str:
    return number(larger / smaller) if smaller > 0 else "no error"
