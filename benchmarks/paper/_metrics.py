"""What a forecast is worth: errors on the published scale, and of the parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.paper._models import Forecast
from benchmarks.paper._over_bound import within_ranges
from benchmarks.paper._tasks import Floats, Split, Task, true_combinations

CHANNELS = 2
COMBINATIONS = 4
LOST = 0.1
"""Relative error of a parameter from which its estimate counts as lost."""


@dataclass(frozen=True)
class Metrics:
    """Errors of a forecast of N records.

    Squared and absolute errors are on the published scale, means over records, outputs and the
    samples behind each context. A failed record counts as if the training set's mean had been
    forecast.

    Attributes:
        mse: Mean squared error.
        mae: Mean absolute error.
        mse_median: Median over records of each one's mean square.
        mse_in_range: Mean square of the records whose parameters lie in the training ranges.
        mse_channel: (2,) mean square of each output, NaN behind the last.
        parameter_error: (4,) median relative error of each identifiable combination, NaN where
            there is none.
        lost: Share of records of which one combination is off by more than 10 %.
        failed: Records without a forecast.
        records: How many there were.
    """

    mse: float
    mae: float
    mse_median: float
    mse_in_range: float
    mse_channel: Floats
    parameter_error: Floats
    lost: float
    failed: int
    records: int


def measure(task: Task, split: Split, forecast: Forecast, *, everywhere: bool = False) -> Metrics:
    """Compare a forecast with the truth.

    Args:
        task: The task.
        split: The records.
        forecast: Of these records.
        everywhere: Count all samples, not only those behind the context.
    """
    outputs = np.array(forecast.outputs)
    behind = np.arange(outputs.shape[1]) >= split.context[:, None]
    counted = np.ones_like(behind) if everywhere else behind
    failed = ~np.isfinite(np.where(counted[..., None], outputs, 0.0)).all(axis=(1, 2))
    outputs[failed] = task.train.sequence.mean(axis=(0, 1))
    error = np.where(counted[..., None], (outputs - split.target) * task.scale, np.nan)
    each = np.nanmean(error**2, axis=1)
    inside = within_ranges(task, split)
    channels = np.full(CHANNELS, np.nan)
    channels[: each.shape[1]] = np.nanmean(error**2, axis=(0, 1))
    relative = _relative_errors(task, split, forecast)
    medians = np.full(COMBINATIONS, np.nan)
    lost = np.nan
    if relative.size:
        medians[: len(relative)] = np.median(relative, axis=1)
        lost = float((relative > LOST).any(axis=0).mean())
    return Metrics(
        mse=float(np.nanmean(error**2)),
        mae=float(np.nanmean(abs(error))),
        mse_median=float(np.median(each.mean(axis=1))),
        mse_in_range=float(np.nanmean(error[inside] ** 2)) if inside.any() else np.nan,
        mse_channel=channels,
        parameter_error=medians,
        lost=lost,
        failed=int(failed.sum()),
        records=len(split),
    )


def _relative_errors(task: Task, split: Split, forecast: Forecast) -> Floats:
    """Return relative errors (Q, N), infinite where there is no estimate; empty without any."""
    truth = true_combinations(task, split)
    if not forecast.parameters:
        return np.empty((0, 0))
    # A phase may be anything about zero, so its error is in units of its range instead.
    errors = []
    for name, true in truth.items():
        size = np.ptp(true) if (true <= 0).any() else true
        error = abs(np.asarray(forecast.parameters[name]) - true) / size
        errors.append(np.where(np.isfinite(error), error, np.inf))
    return np.array(errors)
