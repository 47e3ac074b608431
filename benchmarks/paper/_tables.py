"""The tables of the study in Markdown: nothing in them is written by hand but the paper's numbers.

Every entry is the mean over the seeds, with its standard deviation where there are several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.paper._cells import (
    LEARNING_RATES,
    VARIANT_RATES,
    Extent,
    result_cells,
    tuning_cells,
)
from benchmarks.paper._findings import findings
from benchmarks.paper._found import (
    QUOTED,
    TASKS,
    Found,
    Lines,
    label,
    markdown_table,
    quoted_error,
    rows_and_roots,
)
from benchmarks.paper._rows import ABLATED, NOISE_ROWS, VARIANTS

COMBINATIONS_OF = {
    "msd": ("k/m", "c/m"),
    "msd_zero": ("k/m", "c/m"),
    "sine": ("phase (of its range)",),
    "lv_repeat_copy": ("alpha", "beta", "gamma", "delta"),
    "lv": ("alpha", "beta", "gamma", "delta"),
}
# Of SINE, from the paper's plotting script, by size of the training set, in units of 1e-4.
_QUOTED_SIZES = {
    "WARP": ("306", "2.77", "9.51", "4.74", "6.15"),
    "WARP-Phys": ("751", "0.62", "0.67", "0.55", "0.48"),
}
_FROM = "MSD-Zero, mean squared error x1e-2."
_INSIDE = "Behind the slash: of the records whose parameters lie in the training ranges."
_SEEDS = "The published column is of all seeds, the others of the first."


def tables(extent: Extent, lines: Lines) -> str:
    """Return all tables of a study.

    Args:
        extent: Of the study, which says what is missing.
        lines: What is done.
    """
    found = Found(extent, lines)
    parts = [
        "<!-- Written by `make paper`; do not edit. -->\n\n# The study's tables",
        _extent_words(extent, lines),
        findings(found),
        _main_table(found),
        *(_task_table(found, task) for task in TASKS),
        _robustness_table(found),
        _bound_table(found),
        _ablation_table(found),
        _context_table(found),
        _size_table(found),
    ]
    return "\n\n".join(parts) + "\n"


def _extent_words(extent: Extent, lines: Lines) -> str:
    done = {cell for cell, _ in lines}
    tuning, results = list(tuning_cells(extent)), list(result_cells(extent))
    records = extent.records
    return (
        f"Records: {records.train} for training, {records.validation} for validation, "
        f"{records.test} for the test; SINE 10, {extent.sine} and {extent.sine}. "
        f"Training: {extent.steps} steps of {extent.batch_size} records, "
        f"seeds {', '.join(map(str, extent.seeds))}; learning rates "
        f"{', '.join(f'{rate:g}' for rate in LEARNING_RATES)}, chosen in {extent.tuning_steps} "
        f"steps. Done: {len(done & set(results))} of {len(results)} cells, and "
        f"{len(done & set(tuning))} of {len(tuning)} of the tuning."
    )


def _main_table(found: Found) -> str:
    heads = ["model", *(f"{head} (x1e{power})" for head, power in TASKS.values())]
    body = []
    for name in QUOTED:
        entries = [quoted_error(name, task) for task in TASKS]
        body.append([f"*{name}, quoted from the paper*", *entries])
    for row, root in rows_and_roots():
        entries = [
            found.entry(("main", task, row, root), power) for task, (_, power) in TASKS.items()
        ]
        body.append([label(row, root), *entries])
    note = (
        "Mean squared error on the published scale behind the context: mean ± standard deviation "
        "over the seeds; rows without training have none. † Of full sequences, with the target "
        'shown to the model: no forecast, and to be compared with "WARP, shown its target" alone. '
        "SINE* has a context of one sample: it tests the first state alone."
    )
    return markdown_table("Main table", note, heads, body)


def _task_table(found: Found, task: str) -> str:
    columns = {
        "in the training ranges": "mse_in_range",
        "median over records": "mse_median",
        "by output": "mse_channel",
        "mean absolute error": "mae",
        f"median relative error of {', '.join(COMBINATIONS_OF[task])}": "parameter_error",
        "lost": "lost",
        "failed": "failed",
        "trained numbers": "trained_numbers",
        "training, s": "training_seconds",
        "test, s a record": "seconds_per_record",
        "learning rate": "learning_rate",
    }
    body = []
    for row, root in rows_and_roots():
        at = ("main", task, row, root)
        if found.values(at, "mse"):
            body.append([label(row, root), *(found.mean(at, name) for name in columns.values())])
    note = (
        "The first three columns are squared errors; all errors are on the published scale and not "
        "multiplied. Lost: share of records with a combination off by more than 10 %. Failed: "
        "records without a forecast. Means over the seeds. Times are of one thread beside another "
        "busy one: within a factor of two or so."
    )
    return markdown_table(TASKS[task][0], note, ["model", *columns], body)


def _robustness_table(found: Found) -> str:
    columns = [_Column("as published", "main", "")]
    columns += _columns(found, "robustness")
    note = (
        f"{_FROM} {_INSIDE} Noise is in all samples that models see, the parameters that heads "
        f"learn from and what errors are against are exact; the quadratic drag is in the test "
        f"records alone. {_SEEDS}"
    )
    body = _by_condition(found, "msd_zero", NOISE_ROWS, columns)
    heads = ["model", *(column.head for column in columns)]
    return markdown_table("Noise, wrong physics, coarser grid", note, heads, body)


def _context_table(found: Found) -> str:
    columns = [_Column("100 samples", "main", ""), *_columns(found, "context")]
    columns.sort(key=lambda column: int(column.head.split()[0]))
    body = _by_condition(found, "msd_zero", (*ABLATED, "zero"), columns)
    heads = ["model", *(column.head for column in columns)]
    note = (
        f"{_FROM} {_INSIDE} Each column counts the samples behind its own context, where a damped "
        "motion is the smaller the later, so compare with the forecast of zero. Published: 100. "
        f"{_SEEDS}"
    )
    return markdown_table("Length of the context", note, heads, body)


def _size_table(found: Found) -> str:
    columns = [_Column("10 samples", "main", ""), *_columns(found, "sine_sizes")]
    columns.sort(key=lambda column: int(column.head.split()[0]))
    columns = [column._replace(head=f"n = {column.head.split()[0]}") for column in columns]
    names = dict.fromkeys(cell.row for cell in found.cells if cell.table == "sine_sizes")
    body = [
        [f"*{name}, quoted from the authors' code*", *numbers]
        for name, numbers in _QUOTED_SIZES.items()
    ]
    body += _by_condition(found, "sine", names, columns)
    heads = ["model", *(column.head for column in columns)]
    note = (
        "Mean squared error x1e-4, by the number of training records. Published: 10. From one "
        f"record WARP-Phys cannot learn: no parameter varies. {_SEEDS}"
    )
    return markdown_table("Size of SINE's training set", note, heads, body)


class _Column(NamedTuple):
    """Where a column's entries come from."""

    head: str
    table: str
    condition: str


def _columns(found: Found, table: str) -> list[_Column]:
    return [_Column(condition, table, condition) for condition in found.conditions(table)]


def _by_condition(
    found: Found, task: str, names: Iterable[str], columns: Sequence[_Column]
) -> list[list[str]]:
    power = TASKS[task][1]
    entry = found.entry if task == "sine" else found.entry_and_in_range
    return [
        [
            label(row, root),
            *(entry((c.table, task, row, root, c.condition), power) for c in columns),
        ]
        for row, root in rows_and_roots(names)
    ]


def _bound_table(found: Found) -> str:
    body = []
    for condition in found.conditions("robustness"):
        for row, root in rows_and_roots():
            at = ("robustness", "msd_zero", row, root, condition)
            if np.isfinite(found.values(at, "far")).any():
                columns = ("bound_ratio", "far", "lost", "seconds_per_record")
                body.append([condition, label(row, root), *(found.mean(at, c) for c in columns)])
    note = (
        "MSD-Zero with noise, records in the training ranges: root mean square of the error over "
        "the Cramer-Rao bound; 1 is the limit of any unbiased estimate. Far: share of records "
        "beyond 10 bounds, left out of it. Lost: share of all test records with a combination "
        "off by more than 10 %. The bound and the Kalman filter know the level of the noise, least "
        "squares estimates it."
    )
    heads = ["noise", "model", "k/m / c/m", "far", "lost", "s a record"]
    return markdown_table("Errors over the Cramer-Rao bound", note, heads, body)


def _ablation_table(found: Found) -> str:
    named = ("WARP, diagonal A", "WARP, low-rank A", "WARP, dense A, small root")
    ats = [("main", "msd_zero", name, "") for name in (*named, "WARP, auto-regressive")]
    ats += [("ablation", "msd_zero", name, "") for name in VARIANTS]
    body = [
        [at[2], found.entry(at, -2), *(found.mean(at, n) for n in ("mse_in_range", "mse_median"))]
        for at in ats
    ]
    note = (
        f"{_FROM} The first four lines are those of the main table, over all seeds; the small root "
        "has fewer sines of time as well, and the auto-regressive model is another network that "
        'reads the previous sample. Below, "WARP, diagonal A" with one thing changed, but where '
        '"auto-regressive" says otherwise, each with its own choice of learning rate, which may be '
        f"{VARIANT_RATES[0]:g} as well; first seed."
    )
    heads = ["variant", "x1e-2", "in the training ranges", "median over records"]
    return markdown_table("Ablations of WARP", note, heads, body)
