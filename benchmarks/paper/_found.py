"""The lines of a study by what they belong to, and how numbers and tables are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.paper._cells import Cell, Extent, result_cells
from benchmarks.paper._rows import ROWS, STATE_SHOWN

Line = Mapping[str, Any]
Lines = Sequence[tuple[Cell, Line]]

# Task -> its heading, and the power of ten its errors are given in units of.
TASKS = {
    "msd": ("MSD", -2),
    "msd_zero": ("MSD-Zero", -2),
    "sine": ("SINE*", -4),
    "lv_repeat_copy": ("LV repeat-copy", -2),
    "lv": ("LV plain", -2),
}
ROOT_WORDS = {
    "": "",
    "first_sample": "from the estimated first state",
    "last_sample": "from the last sample",
    "fit": "then fit",
}
# Table 3 of the paper, in the units of `TASKS`. Its errors on LV are of whole sequences, with the
# target shown to the model.
QUOTED = {
    "GRU": {"msd": "1.43", "msd_zero": "0.55", "lv_repeat_copy": "5.83", "sine": "4.90"},
    "LSTM": {"msd": "1.46", "msd_zero": "0.57", "lv_repeat_copy": "6.18", "sine": "9.48"},
    "Transformer": {"msd": "0.34", "msd_zero": "0.48", "lv_repeat_copy": "11.27", "sine": "1728"},
    "WARP": {"msd": "0.94", "msd_zero": "0.32", "lv_repeat_copy": "4.72", "sine": "2.77"},
    "WARP-Phys": {"msd": "0.03", "msd_zero": "0.04", "sine": "0.62"},
}
NOT_OF_IT, _NOT_RUN = "-", "not run"
_LONGEST_REASON = 90


class Found:
    """The lines of a study, by what they belong to.

    Args:
        extent: Of the study.
        lines: What is done of it.
    """

    def __init__(self, extent: Extent, lines: Lines) -> None:
        self.cells = list(result_cells(extent))
        self._planned: dict[tuple[str, str, str, str], int] = {}
        for cell in self.cells:
            self._planned[_key(cell)] = self._planned.get(_key(cell), 0) + 1
        self._lines: dict[tuple[str, str, str, str], list[Line]] = {}
        for cell, line in lines:
            self._lines.setdefault(_key(cell), []).append(line)

    def conditions(self, table: str) -> list[str]:
        """Return the conditions of a table in their order."""
        return list(dict.fromkeys(cell.condition for cell in self.cells if cell.table == table))

    def lines(self, table: str, task: str, row: str, root: str, condition: str = "") -> list[Line]:
        """Return the lines of an entry, one a seed; those that ended in an error as well."""
        every = self._lines.get((table, task, row, condition), [])
        return [line for line in every if "error" in line or line["root"] == root]

    def values(self, at: Sequence[str], name: str) -> list[Any]:
        """Return a quantity of an entry's seeds; `at` as the arguments of `lines`."""
        return [line[name] for line in self.lines(*at) if "error" not in line]

    def entry(self, at: Sequence[str], power: int) -> str:
        """Return mean and spread of the squared errors in units of 10**power, or why none."""
        table, task, row, root, condition = (*at, "")[:5]
        planned = self._planned.get((table, task, row, condition), 0)
        if not planned or (root == "last_sample" and task not in STATE_SHOWN):
            return NOT_OF_IT
        lines = self.lines(*at)
        errors = self.values(at, "mse")
        if errors:
            return spread([error / 10.0**power for error in errors], planned)
        return f"cannot be trained: {reason(lines[0]['error'])}" if lines else _NOT_RUN

    def entry_and_in_range(self, at: Sequence[str], power: int) -> str:
        """Return `entry` beside the mean error of the records in the training ranges."""
        inside = self.values(at, "mse_in_range")
        text = self.entry(at, power)
        return f"{text} / {number(float(np.mean(inside)) / 10.0**power)}" if inside else text

    def mean(self, at: Sequence[str], name: str) -> str:
        """Return the mean of a quantity over the seeds, of a vector one by one."""
        values = self.values(at, name)
        if not values:
            return NOT_OF_IT
        means = np.atleast_1d(np.mean(values, axis=0))
        return " / ".join(map(number, means[~np.isnan(means)])) or NOT_OF_IT


def _key(cell: Cell) -> tuple[str, str, str, str]:
    return cell.table, cell.task, cell.row, cell.condition


def number(value: float) -> str:
    """Return a number with three significant digits."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    mantissa, power = f"{value:.2e}".split("e")
    exponent = int(power)
    if -4 <= exponent <= 5:
        return f"{value:.{max(0, 2 - exponent)}f}"
    return f"{mantissa}e{exponent}"


def spread(values: Sequence[float], planned: int) -> str:
    """Return mean +- standard deviation, and how many seeds where they are not all there."""
    text = number(float(np.mean(values)))
    if len(values) > 1:
        text += f" ± {number(float(np.std(values, ddof=1)))}"
    return text if len(values) == planned else f"{text} ({len(values)} of {planned} seeds)"


def reason(error: str) -> str:
    """Return the last line of an error, shortened, without the places in the code it went by."""
    last = error.strip().splitlines()[-1].replace("|", "/")
    return last if len(last) <= _LONGEST_REASON else f"{last[:_LONGEST_REASON]}..."


def quoted_error(model: str, task: str) -> str:
    """Return the paper's error of a model, marked where it is of no forecast."""
    if task not in QUOTED[model]:
        return NOT_OF_IT
    return f"{QUOTED[model][task]} †" if task == "lv_repeat_copy" else QUOTED[model][task]


def label(row: str, root: str) -> str:
    """Return a row and the root that runs on from it, in words."""
    return f"{row}, {ROOT_WORDS[root]}" if root else row


def rows_and_roots(names: Iterable[str] = ROWS) -> list[tuple[str, str]]:
    """Return every row with each of its roots."""
    return [(name, root) for name in names for root in ROWS[name].roots]


def markdown_table(
    title: str, note: str, heads: Sequence[str], body: Iterable[Sequence[str]]
) -> str:
    """Return a table under its title and a note."""
    lines = [heads, [":--", *["--:"] * (len(heads) - 1)], *body]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"## {title}\n\n{note}\n\n{text}"
