"""How close estimates from noisy contexts come to the Cramer-Rao bound."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper._cramer_rao import cramer_rao
from benchmarks.paper._tasks import Floats, Split, Task, true_combinations

_FAR = 10.0  # bounds, in any combination: no longer an error but a failure


def over_bound(
    task: Task, split: Split, parameters: Mapping[str, Floats]
) -> tuple[dict[str, float], float]:
    """Return errors over the bound, and how many are none.

    Args:
        task: A free vibration with noise (see `noisy`).
        split: The records; those whose parameters lie in the training ranges count.
        parameters: Estimates of the identifiable combinations, each (N,), NaN where there is none.

    Returns:
        The root mean square of error / bound of each combination, 1 being the limit of any
        unbiased estimate, over records within 10 bounds in every combination; and the share of
        the other records.

    Raises:
        ValueError: The task is no free vibration, or its data have no noise.
    """
    bound, truth = cramer_rao(task, split), true_combinations(task, split)
    inside = within_ranges(task, split)
    ratios = {
        name: np.nan_to_num(abs(parameters[name] - truth[name]) / bound[name], nan=np.inf)[inside]
        for name in bound
    }
    near = np.logical_and.reduce([values <= _FAR for values in ratios.values()])
    found = {name: float(np.sqrt((values[near] ** 2).mean())) for name, values in ratios.items()}
    return found, float((~near).mean())


def within_ranges(task: Task, split: Split) -> NDArray[np.bool_]:
    """Return which records (N,) have parameters within the ranges of the training set."""
    known = task.train.data["true_parameters"].values
    values = split.data["true_parameters"].values
    inside = (values >= known.min(axis=0)) & (values <= known.max(axis=0))
    return np.asarray(inside.all(axis=1))
