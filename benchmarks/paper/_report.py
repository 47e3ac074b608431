"""The report of the study: its lines as NetCDF, its tables as Markdown, its main table drawn."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import warp_phys as wp
from benchmarks.paper._cells import LEARNING_RATES, VARIANT_RATES, Cell, Extent
from benchmarks.paper._found import QUOTED, TASKS, Lines, label, reason, rows_and_roots
from benchmarks.paper._metrics import COMBINATIONS
from benchmarks.paper._rows import ROWS
from benchmarks.paper._tables import tables
from warp_phys.systems.schema.files import write_atomic
from warp_phys.systems.schema.labels import stamp

_PAPER = "arXiv:2506.01153"


class _Quantity(NamedTuple):
    """A variable of numbers of study.nc: its words, its unit, its second dimension if any."""

    long_name: str
    units: str = "1"
    dimension: str = ""


_SETTINGS: dict[str, Callable[[Cell], str]] = {
    "table": lambda cell: cell.table,
    "task": lambda cell: cell.task,
    "row": lambda cell: cell.row,
    "condition": lambda cell: cell.condition,
    "kind": lambda cell: cell.definition.kind,
}
_TEXTS = {
    "table": "table of the study, or tuning",
    "task": "data set",
    "row": "model",
    "condition": "what is different from the published task",
    "kind": "kind of model",
    "root": "from where the physics runs on",
    "error": "why the cell has no result",
}
_NUMBERS = {
    "mse": _Quantity("mean squared error on the published scale"),
    "mae": _Quantity("mean absolute error on the published scale"),
    "mse_median": _Quantity("median over records of the mean squared error"),
    "mse_in_range": _Quantity("mean squared error of records in the training ranges"),
    "mse_channel": _Quantity("mean squared error of each output", dimension="channel"),
    "parameter_error": _Quantity(
        "median relative error of k/m and c/m, the phase, or alpha to delta",
        dimension="combination",
    ),
    "lost": _Quantity("share of records with a combination off by more than 10 %"),
    "failed": _Quantity("records without a forecast"),
    "records": _Quantity("records of the test"),
    "bound_ratio": _Quantity(
        "root mean square of error over Cramer-Rao bound, records within 10 bounds",
        dimension="combination",
    ),
    "far": _Quantity("share of records beyond 10 bounds"),
    "seconds_per_record": _Quantity("time of the test for each record", "s"),
    "training_seconds": _Quantity("time of the training", "s"),
    "validation": _Quantity("validation loss"),
    "learning_rate": _Quantity("learning rate at its highest"),
    "trained_numbers": _Quantity("number of trained numbers"),
    "training_records": _Quantity("records of the training"),
}
_LENGTHS = {"": (), "channel": (2,), "combination": (COMBINATIONS,)}

_COLORS = {"WARP": "C0", "data-driven": "C7", "WARP-Phys": "C3", "control": "C2"}
_QUOTED_LINES = {"WARP": "C0", "WARP-Phys": "C3"}
# Errors below are drawn here as arrows, lest thirty decades hide what lies above.
_LEAST = 1e-12


def write_report(extent: Extent, lines: Lines, folder: Path) -> None:
    """Write study.nc, tables.md and main.svg, each whole or not at all.

    Args:
        extent: Of the study.
        lines: What is done of it, one line for every cell and root, tuning included.
        folder: Made where it is missing; files of these names are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wp.save(study(extent, lines), folder / "study.nc", overwrite=True)
    text = tables(extent, lines)
    write_atomic(text.encode(), folder / "tables.md", overwrite=True)
    write_atomic(_svg(_main_figure(lines)), folder / "main.svg", overwrite=True)


def study(extent: Extent, lines: Lines) -> xr.Dataset:
    """Return all lines as a data set of dimension `line`; what a line lacks is NaN or empty."""
    texts: dict[str, list[str]] = {
        name: [of(cell) for cell, _ in lines] for name, of in _SETTINGS.items()
    }
    texts["root"] = [line.get("root", "") for _, line in lines]
    # The last line alone: a traceback is full of places on one machine.
    texts["error"] = [reason(line["error"]) if "error" in line else "" for _, line in lines]
    variables = {
        name: xr.Variable("line", np.array(texts[name], dtype=str), {"long_name": words})
        for name, words in _TEXTS.items()
    }
    seeds = np.array([cell.seed for cell, _ in lines], dtype=np.int64)
    variables["seed"] = xr.Variable("line", seeds, {"long_name": "seed", "units": "1"})
    for name, quantity in _NUMBERS.items():
        variables[name] = _variable(name, quantity, lines)
    return stamp(
        xr.Dataset(variables),
        title="Study of the dynamical systems of the WARP paper",
        settings=asdict(extent)
        | {"learning_rates": LEARNING_RATES, "ablation_rates": VARIANT_RATES},
        references=_PAPER,
        function="benchmarks.paper",
        dated=False,
    )


def _variable(name: str, quantity: _Quantity, lines: Lines) -> xr.Variable:
    lengths = _LENGTHS[quantity.dimension]
    missing = np.full(lengths, np.nan)
    values = np.array([line.get(name, missing) for _, line in lines], dtype=np.float64)
    dims = ("line", quantity.dimension) if quantity.dimension else ("line",)
    attributes = {"long_name": quantity.long_name, "units": quantity.units}
    return xr.Variable(dims, values.reshape(len(lines), *lengths), attributes)


def _main_figure(lines: Lines) -> Figure:
    """Return the main table drawn: a panel for each task, a dot for each seed."""
    rows = rows_and_roots()
    figure = Figure(figsize=(15.0, 0.24 * len(rows) + 1.4), layout="constrained")
    panels = figure.subplots(1, len(TASKS), sharex=True, sharey=True)
    for axes, (task, (head, power)) in zip(panels, TASKS.items(), strict=True):
        _draw_dots(axes, [(c, line) for c, line in lines if (c.table, c.task) == ("main", task)])
        for name, color in _QUOTED_LINES.items():
            if task in QUOTED[name]:
                quoted = float(QUOTED[name][task]) * 10.0**power
                axes.axvline(quoted, color=color, linestyle="--", linewidth=1.0)
        axes.set_xscale("log")
        axes.set_title(head)
        axes.set_xlabel("mean squared error")
        axes.grid(axis="y", linewidth=0.3)
    panels[0].set_yticks(range(len(rows)), [label(*row) for row in rows], fontsize=8)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(
        "Dots: seeds; arrows: 1e-12 or less. Blue: WARP, gray: other data-driven models, red: "
        "WARP-Phys, green: controls. Dashed: the paper's WARP (blue; shown the target of LV) and "
        "WARP-Phys (red).",
        fontsize=9,
    )
    return figure


def _draw_dots(axes: Axes, lines: Sequence[tuple[Cell, Any]]) -> None:
    places = {row: place for place, row in enumerate(rows_and_roots())}
    for cell, line in lines:
        if "error" not in line:
            color = _COLORS[ROWS[cell.row].kind]
            place = places[cell.row, line["root"]]
            marker = "o" if line["mse"] > _LEAST else "<"
            error = max(line["mse"], _LEAST)
            axes.plot(error, place, marker, color=color, markersize=4, alpha=0.7)


def _svg(figure: Figure) -> bytes:
    """Return the figure's bytes, the same for the same figure."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "paper"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
