"""How close estimates from noisy contexts come to the Cramer-Rao bound."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper._cramer_rao import cramer_rao
from benchmarks.paper._tasks import Floats, Split, Task, true_combinations

Estimator = Callable[[Split], Mapping[str, Floats]]
"""Returns the identifiable combinations, each (N,), from the contexts of a split."""

_FAR = 10.0  # bounds, in any combination: no longer an error but a failure
_FAILED = 0.1  # relative error


@dataclass(frozen=True)
class NoiseRow:
    """What one estimator reached, by combination where it is a mapping.

    Attributes:
        ratio: Root mean square of error / bound; 1 is the limit of any unbiased estimate. Infinite
            where a record has no estimate.
        trimmed: The same over records within 10 bounds in every combination.
        far: Share of the other records.
        relative: Median relative error.
        failures: Share of records with a relative error above 10 %, or without an estimate.
        seconds: For each record.
    """

    ratio: Mapping[str, float]
    trimmed: Mapping[str, float]
    far: float
    relative: Mapping[str, float]
    failures: Mapping[str, float]
    seconds: float


def noise_rows(
    task: Task, split: Split, estimators: Mapping[str, Estimator]
) -> dict[str, NoiseRow]:
    """Return what every estimator reaches on the records of a split.

    Args:
        task: A free vibration with noise (see `noisy`).
        split: The records: the test set, or those `in_range`.
        estimators: By name.

    Raises:
        ValueError: The task is no free vibration, or its data have no noise.
    """
    bound = cramer_rao(task, split)
    truth = true_combinations(task, split)
    rows = {}
    for name, estimator in estimators.items():
        begun = time.perf_counter()
        estimates = estimator(split)
        seconds = (time.perf_counter() - begun) / len(split)
        rows[name] = _row(estimates, truth, bound, seconds)
    return rows


def within_ranges(task: Task, split: Split) -> NDArray[np.bool_]:
    """Return which records (N,) have parameters within the ranges of the training set."""
    known = task.train.data["true_parameters"].values
    values = split.data["true_parameters"].values
    inside = (values >= known.min(axis=0)) & (values <= known.max(axis=0))
    return np.asarray(inside.all(axis=1))


def in_range(task: Task, split: Split) -> Split:
    """Return the records whose parameters lie in the ranges of the training set."""
    rows = np.flatnonzero(within_ranges(task, split))
    return Split(
        split.data.isel(trajectory=rows),
        split.sequence[rows],
        split.target[rows],
        split.context[rows],
    )


def _row(
    estimates: Mapping[str, Floats],
    truth: Mapping[str, Floats],
    bound: Mapping[str, Floats],
    seconds: float,
) -> NoiseRow:
    errors = {
        name: np.nan_to_num(np.abs(estimates[name] - values), nan=np.inf)
        for name, values in truth.items()
    }
    ratios = {name: values / bound[name] for name, values in errors.items()}
    relative = {name: values / np.abs(truth[name]) for name, values in errors.items()}
    near = np.logical_and.reduce([values <= _FAR for values in ratios.values()])
    return NoiseRow(
        ratio={name: _root_mean_square(values) for name, values in ratios.items()},
        trimmed={name: _root_mean_square(values[near]) for name, values in ratios.items()},
        far=float((~near).mean()),
        relative={name: float(np.median(values)) for name, values in relative.items()},
        failures={name: float((values > _FAILED).mean()) for name, values in relative.items()},
        seconds=seconds,
    )


def _root_mean_square(values: Floats) -> float:
    return float(np.sqrt((values**2).mean())) if len(values) else np.inf
