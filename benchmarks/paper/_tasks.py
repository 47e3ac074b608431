"""The tasks of the study: what a model reads, what it has to predict, and on which scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from warp_phys.data_gen import paper_data
from warp_phys.systems import System, get_system

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """Training, validation or test set of a task: N records of T samples of O outputs.

    Attributes:
        data: The simulated data set, `observed` being the whole trajectory, with its noise.
        sequence: What a model reads up to the context and is trained to predict behind it,
            (N, T, O): `observed`, or the target of repeat-copy.
        target: What a forecast is compared with, (N, T, O): the same without noise.
        context: How many samples are read before the forecast, (N,).
    """

    data: xr.Dataset
    sequence: Floats
    target: Floats
    context: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sequence)

    @property
    def times(self) -> Floats:
        """The sample times (T,)."""
        return np.asarray(self.data["time"].values, dtype=np.float64)

    def first(self, count: int) -> Split:
        """Return the first records."""
        return Split(
            self.data.isel(trajectory=slice(count)),
            self.sequence[:count],
            self.target[:count],
            self.context[:count],
        )


@dataclass(frozen=True)
class Task:
    """A forecasting task.

    Attributes:
        name: Of the task.
        system: The physics behind its records.
        train: What models learn from.
        validation: What chooses among them.
        test: What they are judged on.
        scale: Published scale: errors are multiplied by 2 / (maximum - minimum).
        cycle_gap: Of repeat-copy: zeros between two cycles; else None.
    """

    name: str
    system: System
    train: Split
    validation: Split
    test: Split
    scale: float
    cycle_gap: int | None = None


@dataclass(frozen=True)
class Sizes:
    """How many records a task has."""

    train: int
    validation: int
    test: int


# Name of the task -> the data set of the paper, and its context where the task has its own.
_PAPER = {
    "msd": ("paper_msd", None),
    "msd_zero": ("paper_msd_zero", None),
    "sine": ("paper_sine", None),
    "lv_repeat_copy": ("paper_lv_repeat_copy", None),
    "lv": ("paper_lv_repeat_copy", 100),
}
_GAP = 50

Alteration = Callable[[str, xr.Dataset], xr.Dataset]
"""Returns a split's data set, altered, from the name of the split and the data set."""


def make_task(
    name: str, sizes: Sizes, *, context: int | None = None, alter: Alteration | None = None
) -> Task:
    """Make a task of the paper from its recipe.

    Args:
        name: "msd", "msd_zero", "sine", "lv_repeat_copy" or "lv" (plain forecasting).
        sizes: Numbers of records.
        context: Samples read before the forecast, where not the published number.
        alter: What is done to the data sets (noise, another system, a coarser grid), if anything.
    """
    source, own_context = _PAPER[name]
    chosen = context or own_context
    splits = {}
    for split in ("train", "validation", "test"):
        count = getattr(sizes, split)
        data = paper_data(source, split=split, n=count, progress=False)
        if alter is not None:
            data = alter(split, data)
        splits[split] = _split(data, chosen, repeat=name == "lv_repeat_copy")
    attrs = splits["train"].data.attrs
    return Task(
        name=name,
        system=get_system(attrs["system"]),
        scale=2.0 / (attrs["scale_maximum"] - attrs["scale_minimum"]),
        cycle_gap=_GAP if name == "lv_repeat_copy" else None,
        **splits,
    )


def _split(data: xr.Dataset, context: int | None, *, repeat: bool) -> Split:
    known = data["context_samples"].values.astype(np.int64)
    if context is not None:
        known = np.full_like(known, context)
    if not repeat:
        return Split(data, data["observed"].values, data["noiseless"].values, known)
    # The cycle and the first zero behind it, which tells how long the cycle is.
    sequence = data["target_sequence"].values
    return Split(data, sequence, sequence, known + 1)


def with_context(task: Task, context: int) -> Task:
    """Return the same task with another number of samples before the forecast."""

    def changed(split: Split) -> Split:
        return replace(split, context=np.full_like(split.context, context))

    return replace(
        task,
        train=changed(task.train),
        validation=changed(task.validation),
        test=changed(task.test),
    )


def combinations(task: Task, parameters: Mapping[str, Any]) -> dict[str, Floats]:
    """Return what the records can tell of the parameters: k/m and c/m of the oscillator, say."""
    values = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}
    if {"m", "k", "c"} <= set(values):
        return {"k_over_m": values["k"] / values["m"], "c_over_m": values["c"] / values["m"]}
    free = [p.name for p in task.system.parameters if p.fixed is None]
    return {name: values[name] for name in free}


def true_combinations(task: Task, split: Split) -> dict[str, Floats]:
    """Return the true values of the identifiable combinations, each (N,)."""
    truth = split.data["true_parameters"]
    names = [str(name) for name in truth["parameter"].values]
    return combinations(task, {name: truth.sel(parameter=name).values for name in names})
