"""Reading of data sets that `estimate` returned: recognition, free parameters, last samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from warp_phys.results.pick import Floats, has_band, sample_times

_IN_TIME = {"time", "sample"}


def is_estimate(dataset: Any) -> bool:
    """Return whether an object is a result of `estimate`, or one trajectory of it."""
    return (
        isinstance(dataset, xr.Dataset)
        and "parameters" in dataset.data_vars
        and bool(_IN_TIME & set(dataset["parameters"].dims))
    )


def as_estimate(dataset: xr.Dataset) -> xr.Dataset:
    """Return an estimate with a dimension of trajectories."""
    if "trajectory" in dataset.dims:
        return dataset
    # One trajectory, selected with isel(trajectory=0).
    batch = dataset.expand_dims("trajectory")
    if "sample" in dataset["time"].dims:
        batch = batch.assign_coords(time=dataset["time"].expand_dims("trajectory"))
    return batch


def free_parameters(estimate: xr.Dataset) -> list[str]:
    """Return the parameters that were estimated, or all if every one was known."""
    names = [str(name) for name in estimate["parameter"].values]
    values = _rows(estimate, "parameters")
    finite = np.isfinite(values)
    lowest = np.where(finite, values, np.inf).min(axis=0)
    highest = np.where(finite, values, -np.inf).max(axis=0)
    known = lowest == highest
    if has_band(estimate, "parameters"):
        width = _rows(estimate, "parameters_upper") - _rows(estimate, "parameters_lower")
        # Known values may differ between trajectories; their bands have no width.
        banded = np.isfinite(width).any(axis=0)
        known = np.where(banded, ~(width > 0.0).any(axis=0), known)
    free = [name for name, is_known in zip(names, known, strict=True) if not is_known]
    return free or names


def last_sample(estimate: xr.Dataset, position: int) -> int:
    """Return the number of a trajectory's last sample."""
    return int(np.flatnonzero(np.isfinite(sample_times(estimate, position)))[-1])


def last_samples(estimate: xr.Dataset) -> NDArray[np.int64]:
    """Return the numbers (N,) of the last samples of all trajectories."""
    times = np.asarray(estimate["time"].values, dtype=np.float64)
    counts = np.isfinite(times).sum(axis=-1)  # samples of a trajectory come first, padding last
    return np.broadcast_to(counts, estimate.sizes["trajectory"]) - 1


def at_last(estimate: xr.Dataset, variable: str) -> Any:
    """Return the values (N, ...) of a variable (trajectory, time, ...) at the last samples."""
    rows = np.arange(estimate.sizes["trajectory"])
    return estimate[variable].values[rows, last_samples(estimate)]


def _rows(estimate: xr.Dataset, variable: str) -> Floats:
    values = np.asarray(estimate[variable].values, dtype=np.float64)
    return values.reshape(-1, values.shape[-1])
