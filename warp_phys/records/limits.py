"""Censored values: those of which a record only says that they are below or above a limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.systems.errors import SchemaError, UsageError
from warp_phys.systems.noise.sample_terms import ABOVE


def read_limits(
    dataset: xr.Dataset, outputs: Sequence[str], labels: Sequence[Any], observed: Tensor
) -> Tensor | None:
    """Return which values (N, T, O) are limits, 1 below and 2 above; None where all are measured.

    Args:
        dataset: The data set; `censored` has the dimensions of `observed`.
        outputs: Names of the O outputs.
        labels: Labels of the trajectories.
        observed: (N, T, O), with the limits.

    Raises:
        SchemaError: Flags are other numbers, or have other dimensions.
        UsageError: A censored value has no limit.
    """
    if "censored" not in dataset:
        return None
    array = dataset["censored"]
    if set(array.dims) != set(dataset["observed"].dims):
        raise SchemaError(
            "expected 'censored' with the dimensions of 'observed', "
            f"({', '.join(map(str, dataset['observed'].dims))}), got "
            f"({', '.join(map(str, array.dims))})"
        )
    array = array.transpose(*dataset["observed"].dims)
    dims = ["trajectory", "sample" if "sample" in array.dims else "time", "output"]
    values = array.sel(output=list(outputs)).transpose(*dims).values
    # Padding of shorter records may be NaN, as integers with a fill value are read.
    flags = torch.as_tensor(np.nan_to_num(np.array(values, dtype=np.float64)))
    wrong = (flags != flags.round()) | (flags < 0.0) | (flags > float(ABOVE))
    if wrong.any():
        row, sample, output = wrong.nonzero()[0].tolist()
        raise SchemaError(
            "expected 'censored' as 0 (measured), 1 (below the limit) or 2 (above it), got "
            f"{float(flags[row, sample, output]):g} for {outputs[output]} at sample {sample} of "
            f"trajectory {labels[row]}"
        )
    lost = (flags > 0.0) & ~observed.isfinite()
    if lost.any():
        row, sample, output = lost.nonzero()[0].tolist()
        raise UsageError(
            f"{outputs[output]} is censored at sample {sample} of trajectory {labels[row]}, but "
            "'observed' has no limit there; write the limit of detection as the value"
        )
    return flags if bool((flags > 0.0).any()) else None


def unknown_limits(flags: Tensor) -> UsageError:
    """Return the error of a caller that would take limits for measured values."""
    return UsageError(
        f"{int((flags > 0.0).sum())} values of the records are censored, which only fit(...) knows "
        "of: a model would take the limits for measured values; use fit(system, data), or make "
        "these values missing: data.assign(observed=data.observed.where(data.censored == 0))"
    )
