"""One cell of the study: make the task, train, test."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmarks.paper._alterations import coarse, noisy, quadratic_drag
from benchmarks.paper._cells import Cell
from benchmarks.paper._metrics import COMBINATIONS, measure
from benchmarks.paper._models import Budget, Forecast, Model
from benchmarks.paper._over_bound import over_bound
from benchmarks.paper._physics_rows import Root, WarpPhys
from benchmarks.paper._rows import STATE_SHOWN
from benchmarks.paper._tasks import Alteration, Task, make_task

# Of the quadratic drag, in kg/m: about a tenth of the linear drag at the usual velocities.
_DRAG = 0.002


def run_cell(cell: Cell, learning_rate: float) -> list[dict[str, Any]]:
    """Train and test; return one line of the results for every root of the model.

    Args:
        cell: What to do.
        learning_rate: As tuned.
    """
    torch.set_num_threads(1)
    task = task_of(cell)
    row = cell.definition
    model = row.make(task)
    tuning = cell.table == "tuning"
    steps = cell.extent.tuning_steps if tuning else cell.extent.steps
    budget = Budget(steps, cell.extent.batch_size, learning_rate, cell.seed)
    begun = time.perf_counter()
    validation = model.fit(task, budget)
    common = {
        "training_seconds": time.perf_counter() - begun,
        "validation": validation,
        "learning_rate": learning_rate if row.trained else np.nan,
        "trained_numbers": model.count(),
        "training_records": len(task.train),
    }
    if tuning:
        return [common]
    roots = [root for root in row.roots if root != "last_sample" or cell.task in STATE_SHOWN]
    return [common | _tested(model, task, root, everywhere=row.everywhere) for root in roots]


def task_of(cell: Cell) -> Task:
    """Return the task of a cell, altered as its condition says."""
    context = int(cell.condition.split()[0]) if cell.table == "context" else None
    return make_task(cell.task, cell.sizes, context=context, alter=_alteration(cell))


def _alteration(cell: Cell) -> Alteration | None:
    if cell.table != "robustness":
        return None
    if cell.condition == "every second sample":
        return coarse(2)
    if cell.condition == "quadratic drag":
        drag = quadratic_drag(_DRAG)
        # The models learn the physics they know, and meet another one.
        return lambda split, data: drag(split, data) if split == "test" else data
    return noisy(float(cell.condition.split()[1]) / 100.0, cell.seed)


def _tested(model: Model, task: Task, root: str, *, everywhere: bool) -> dict[str, Any]:
    if isinstance(model, WarpPhys) and root:
        model.root = _as_root(root)
    begun = time.perf_counter()
    forecast = model.forecast(task, task.test)
    seconds = (time.perf_counter() - begun) / len(task.test)
    found = asdict(measure(task, task.test, forecast, everywhere=everywhere))
    return found | {
        "root": root,
        "seconds_per_record": seconds,
        **_bounds(task, forecast),
    }


def _bounds(task: Task, forecast: Forecast) -> dict[str, Any]:
    """Return errors over the Cramer-Rao bound of records in the training ranges, where noisy."""
    ratio, far = np.full(COMBINATIONS, np.nan), np.nan
    noise = task.test.data["true_noise_sd"].values
    if forecast.parameters and (noise > 0).all():
        found, far = over_bound(task, task.test, forecast.parameters)
        ratio[: len(found)] = list(found.values())
    return {"bound_ratio": ratio, "far": far}


def _as_root(root: str) -> Root:
    if root == "last_sample":
        return "last_sample"
    return "fit" if root == "fit" else "first_sample"
