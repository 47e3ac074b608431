"""What the main table says, in short: the best of each kind, and who is better than it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.paper._found import (
    NOT_OF_IT,
    TASKS,
    Found,
    label,
    markdown_table,
    quoted_error,
    rows_and_roots,
)
from benchmarks.paper._rows import ROWS

_HEADS = ("information", "trained", "regression")
_NONE = "none"
_WITHIN = " (within the spreads)"


class Entry(NamedTuple):
    """A row of the main table on one task.

    Attributes:
        words: Its label.
        kind: What it is.
        heads: The group of heads it belongs to, of WARP-Phys.
        errors: Mean squared error of each seed done.
        written: The errors as the main table has them.
    """

    words: str
    kind: str
    heads: str
    errors: Sequence[float]
    written: str

    @property
    def error(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.errors))

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds, 0 of a single one."""
        return float(np.std(self.errors, ddof=1)) if len(self.errors) > 1 else 0.0


def findings(found: Found) -> str:
    """Return two tables: WARP-Phys against all others, and data-driven WARP against its rivals."""
    return f"{_physics_table(found)}\n\n{_warp_table(found)}"


def forecasts(found: Found, task: str) -> list[Entry]:
    """Return all rows that forecast a task, without what `fit` makes of a start, best first.

    Models that see their target before they answer do not forecast.
    """
    entries = []
    for name, root in rows_and_roots():
        row, at = ROWS[name], ("main", task, name, root)
        errors = found.values(at, "mse")
        if errors and root != "fit" and not row.everywhere:
            written = found.entry(at, TASKS[task][1])
            entries.append(Entry(label(name, root), row.kind, row.heads, errors, written))
    return sorted(entries, key=lambda entry: entry.error)


def _best(entries: Iterable[Entry], *kinds: str) -> Entry | None:
    return next((entry for entry in entries if entry.kind in kinds), None)


def _within(one: Entry, other: Entry) -> str:
    """Return what to say of errors closer than their standard deviations together."""
    apart = abs(one.error - other.error) > one.deviation + other.deviation
    return "" if apart else _WITHIN


def _better(entries: Iterable[Entry], than: Entry, *kinds: str) -> str:
    names = []
    for entry in entries:
        if entry.kind in kinds and entry.error < than.error:
            names.append(entry.words + _within(entry, than))
    return "; ".join(names) or _NONE


def _physics_table(found: Found) -> str:
    heads = [
        "task",
        "heads of WARP-Phys",
        "best of them, without fit",
        "its error",
        "the paper's WARP-Phys",
        "the paper's error over ours",
        "best data-driven model",
        "its error",
        "its error over ours",
        "controls with a smaller error",
    ]
    note = (
        "The best rows of the main table by the mean over the seeds, without what `fit` makes of "
        "them. The best of several rows on the test set is a little flattered; the main table has "
        "every row. The information head learns its prior alone, the moments of the training set; "
        "the regression head learns nothing. Ratios have two digits, those to the paper's rounded "
        "errors hardly one. Within the spreads: closer than the two standard deviations over the "
        "seeds together."
    )
    rows = [_physics_row(found, task, heads) for task in TASKS for heads in _HEADS]
    return markdown_table("WARP-Phys in short", note, heads, [row for row in rows if row])


def _physics_row(found: Found, task: str, heads: str) -> list[str]:
    entries = forecasts(found, task)
    physics = _best((entry for entry in entries if entry.heads == heads), "WARP-Phys")
    rival = _best(entries, "WARP", "data-driven")
    if physics is None or rival is None:
        return []
    quoted = quoted_error("WARP-Phys", task)
    over = NOT_OF_IT
    if quoted != NOT_OF_IT:
        over = _ratio(float(quoted) * 10.0 ** TASKS[task][1], physics.error)
    return [
        _head(task),
        heads,
        physics.words,
        physics.written,
        quoted,
        over,
        rival.words,
        rival.written,
        _ratio(rival.error, physics.error) + _within(rival, physics),
        _better(entries, physics, "control"),
    ]


def _warp_table(found: Found) -> str:
    heads = [
        "task",
        "best WARP",
        "its error",
        "the paper's WARP",
        "best rival",
        "its error",
        "rivals with a smaller error than the best WARP",
        "rivals with a smaller error than WARP with diagonal A",
    ]
    note = (
        "As above, without physics; the best of three or four rows of WARP beside rivals with one "
        "row each, but for the GRU's two on MSD-Zero. † Of full sequences, with the target shown "
        "to the model."
    )
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
        warp.written,
        quoted_error("WARP", task),
        rival.words,
        rival.written,
        _better(entries, warp, "data-driven"),
        _better(entries, diagonal, "data-driven"),
    ]


def _head(task: str) -> str:
    words, power = TASKS[task]
    return f"{words} (x1e{power})"


def _ratio(larger: float, smaller: float) -> str:
    """Return a ratio with two digits."""
    if smaller == 0:
        return "no error"
    ratio = larger / smaller
    if ratio >= 1e4:
        return f"{ratio:.0e}".replace("e+0", "e").replace("e+", "e")
    return f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0f}"
