"""Reading of trajectories from CSV files; every error message names the line."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from warp_phys.reading.series import Series, arrange, output_names
from warp_phys.systems.errors import SchemaError, UsageError, unknown_name

_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "None"]
_DEFAULT_TRAJECTORY = "trajectory"
_FIRST_LINE = 2
"""Line of the file the first row of the table stands on, after the header."""


def read_csv(
    path: Path, time: str, trajectory: str | None, rename: Mapping[str, str | None]
) -> Series:
    """Read one trajectory, or several in long form; see `read_trajectories`."""
    columns = _header(path)
    if trajectory is None and _DEFAULT_TRAJECTORY in columns:
        trajectory = _DEFAULT_TRAJECTORY
    for name in (time, trajectory):
        if name is not None and name not in columns:
            kind = f"column of {path.name} (commas between columns)"
            raise unknown_name(kind, name, columns)
    outputs = output_names([c for c in columns if c not in (time, trajectory)], rename, path.name)
    table = _table(path, columns, [time, *outputs], trajectory)
    times = _numbers(table, time, path.name)
    values = np.stack([_numbers(table, name, path.name) for name in outputs], axis=1)
    codes, labels = _groups(table, trajectory, path.name)
    lines = table.index.to_numpy() + _FIRST_LINE
    _check_order(codes, labels if trajectory else None, times, lines, path.name)
    return arrange(list(outputs.values()), labels, codes, times, values)


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        columns = [name.strip() for name in next(csv.reader(file), [])]
    if not any(columns):
        raise UsageError(f"{path.name} is empty; expected a header line such as time,prey,predator")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UsageError(f"{path.name} has two columns named {twice[0]!r}; rename one")
    return columns


def _table(
    path: Path, columns: list[str], numeric: list[str], trajectory: str | None
) -> pd.DataFrame:
    """Return the lines that are not empty, as text; the index counts lines after the header."""
    absent = {name: _MISSING if name in numeric else [""] for name in columns}
    try:
        # As text first, so that an error can quote the cell as it is in the file; blank lines are
        # kept for the numbering of lines.
        table = pd.read_csv(
            path,
            header=0,
            names=columns,
            dtype=str,
            na_values=absent,
            keep_default_na=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            encoding="utf-8-sig",
        )
    except pd.errors.ParserError as error:
        # The message of the parser names the line and its number of cells.
        raise SchemaError(
            f"expected {len(columns)} cells in each line of {path.name}, as in its header, "
            f"decimals with a point; got: {str(error).strip()}"
        ) from error
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path.name} is not UTF-8 text: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):  # surplus cells have become row labels
        raise SchemaError(
            f"expected {len(columns)} cells in each line of {path.name}, as in its header, got more"
        )
    used = numeric if trajectory is None else [trajectory, *numeric]
    table = table[used].dropna(how="all")
    if table.empty:
        raise UsageError(f"{path.name} is empty: it has a header and no values")
    return table


def _numbers(table: pd.DataFrame, name: str, file: str) -> NDArray[np.float64]:
    cells = table[name].fillna("nan").to_numpy(dtype=str)
    try:
        numbers = cells.astype(np.float64)
    except ValueError:
        numbers = np.array([_number(cell) for cell in cells])
    if np.isinf(numbers).any():
        row = int(np.argmax(np.isinf(numbers)))
        raise UsageError(
            f"expected a finite number in column {name!r}, line "
            f"{table.index[row] + _FIRST_LINE} of {file}, got {str(cells[row])!r}; "
            f"correct it, turn a date into a number, or leave the column out with "
            f"rename={{{name!r}: None}}"
        )
    return numbers


def _number(cell: str) -> float:
    """Return a cell's number, infinite where the cell is not a number."""
    try:
        return float(cell)
    except ValueError:
        return np.inf


def _groups(
    table: pd.DataFrame, trajectory: str | None, file: str
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return each line's trajectory number, and the trajectories' labels as they appear."""
    if trajectory is None:
        return np.zeros(len(table), dtype=np.intp), np.zeros(1, dtype=np.int64)
    codes, found = pd.factorize(table[trajectory])
    if (codes < 0).any():
        line = table.index[int(np.argmax(codes < 0))] + _FIRST_LINE
        raise UsageError(f"expected a label in column {trajectory!r}, line {line} of {file}")
    words = [str(label).strip() for label in found]
    whole = all(word.lstrip("-").isdecimal() and str(int(word)) == word for word in words)
    return codes, np.array([int(word) for word in words] if whole else words)


def _check_order(
    codes: NDArray[np.intp],
    labels: NDArray[Any] | None,
    times: NDArray[np.float64],
    lines: NDArray[np.int64],
    file: str,
) -> None:
    if np.isnan(times).any():
        line = lines[np.argmax(np.isnan(times))]
        raise UsageError(f"expected a time in line {line} of {file}, got an empty cell")
    # A stable sort keeps the order of lines within each trajectory, so that successive times of the
    # same trajectory can be compared even if trajectories alternate.
    order = np.argsort(codes, kind="stable")
    # Equal times are several measurements at one time.
    stalled = (np.diff(codes[order]) == 0) & (np.diff(times[order]) < 0)
    if not stalled.any():
        return
    before, after = order[np.argmax(stalled) + np.arange(2)]
    whose = "" if labels is None else f" of trajectory {labels[codes[before]]}"
    at = f"in lines {lines[before]} and {lines[after]} of {file}"
    hint = ", or name the column that tells trajectories apart: trajectory=..."
    raise UsageError(
        f"expected times{whose} to increase, got {times[before]:.10g} then {times[after]:.10g} "
        f"{at}; sort the lines by time{hint if labels is None else ''}"
    )
