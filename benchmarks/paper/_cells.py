"""Cells: what the study consists of, each trained and tested by itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from benchmarks.paper._rows import ABLATED, NOISE_ROWS, ROWS, VARIANTS, Row
from benchmarks.paper._tasks import Sizes

LEARNING_RATES = (2e-3, 6e-3)
# A dense A on the full root runs away at those; to be fair, all variants may choose this one.
VARIANT_RATES = (3e-4, *LEARNING_RATES)
SEEDS = (0, 1, 2)
CONTEXTS = (25, 50, 150)
NOISE_LEVELS = (0.01, 0.05, 0.2)
# Numbers of training samples of SINE beside the table's ten.
SINE_SIZES = (1, 100, 1000, 10000)
_SINE_ROWS = ABLATED
# One choice of learning rate serves the vibrations and Lotka-Volterra, another SINE.
_TUNED_ON = {"sine": "sine"}
_TUNED_ELSE = "msd_zero"


@dataclass(frozen=True)
class Extent:
    """How large a study is.

    Attributes:
        records: Of training, validation and test of all tasks but SINE.
        sine: Of validation and test of SINE, whose training set has ten records.
        steps: Optimizer steps.
        tuning_steps: Of the short trainings that choose a learning rate.
        batch_size: Records a step.
        seeds: Of networks and order of records.
    """

    records: Sizes
    sine: int
    steps: int
    tuning_steps: int
    batch_size: int
    seeds: tuple[int, ...]


USUAL = Extent(Sizes(8192, 512, 2048), 1000, 1500, 400, 32, SEEDS)
QUICK = Extent(Sizes(64, 32, 32), 32, 2, 1, 16, (0,))
PUBLISHED = Extent(Sizes(20480, 4096, 4096), 1000, 50_000, 5_000, 256, SEEDS)


@dataclass(frozen=True)
class Cell:
    """One training and test.

    Attributes:
        table: "tuning", "main", "ablation", "context", "sine_sizes" or "robustness".
        task: See `make_task`.
        row: Of `ROWS`, or of `VARIANTS` in an ablation.
        condition: What is different from the published task; empty where nothing is.
        seed: Of the training.
        learning_rate: Fixed where the cell is for tuning; else the tuning decides.
        extent: Of the study.
    """

    table: str
    task: str
    row: str
    condition: str
    seed: int
    learning_rate: float | None
    extent: Extent

    @property
    def key(self) -> str:
        """A name that tells the cell from all others, and from itself at another extent."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def definition(self) -> Row:
        """What the row is."""
        return (ROWS | VARIANTS)[self.row]

    @property
    def sizes(self) -> Sizes:
        """How many records the task has."""
        if self.task != "sine":
            return self.extent.records
        train = int(self.condition.split()[0]) if self.table == "sine_sizes" else 10
        return Sizes(train, self.extent.sine, self.extent.sine)

    def describe(self) -> str:
        """Return it in words."""
        parts = (self.table, self.task, self.row, self.condition, f"seed {self.seed}")
        return ", ".join(part for part in parts if part)


def tuning_cells(extent: Extent) -> Iterator[Cell]:
    """Yield what chooses the learning rates: short trainings at every rate, the same for all."""
    for name, row in ROWS.items():
        if not row.trained:
            continue
        for task in sorted({tuned_on(task) for task in row.tasks}):
            for rate in LEARNING_RATES:
                yield Cell("tuning", task, name, "", 100, rate, extent)
    for name in VARIANTS:
        for rate in VARIANT_RATES:
            yield Cell("tuning", _TUNED_ELSE, name, "", 100, rate, extent)


def tuned_on(task: str) -> str:
    """Return the task whose tuning chooses the learning rates of a task."""
    return _TUNED_ON.get(task, _TUNED_ELSE)


def result_cells(extent: Extent) -> Iterator[Cell]:
    """Yield all cells of the tables, first seeds first."""
    for seed in extent.seeds:
        yield from _main(extent, seed)
        if seed == extent.seeds[0]:
            yield from _others(extent, seed)


def _main(extent: Extent, seed: int) -> Iterator[Cell]:
    # What takes ten times as long as the rest comes last.
    for slow in (False, True):
        for task in ("msd_zero", "msd", "sine", "lv", "lv_repeat_copy"):
            for name, row in ROWS.items():
                if task not in row.tasks or name.endswith("auto-regressive") is not slow:
                    continue
                if row.trained or seed == extent.seeds[0]:
                    yield Cell("main", task, name, "", seed, None, extent)


def _others(extent: Extent, seed: int) -> Iterator[Cell]:
    conditions = [f"noise {100 * level:g} %" for level in NOISE_LEVELS]
    for condition in (*conditions, "quadratic drag", "every second sample"):
        for name in NOISE_ROWS:
            yield Cell("robustness", "msd_zero", name, condition, seed, None, extent)
    for name in VARIANTS:
        yield Cell("ablation", "msd_zero", name, "", seed, None, extent)
    for context in CONTEXTS:
        for name in (*ABLATED, "zero"):
            yield Cell("context", "msd_zero", name, f"{context} samples", seed, None, extent)
    for size in SINE_SIZES:
        for name in _SINE_ROWS:
            yield Cell("sine_sizes", "sine", name, f"{size} samples", seed, None, extent)
