"""Checks of the arguments of streaming, which takes one sample of many sensors at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.models.estimator import Memory
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System

BAND_LEVEL = 0.9
"""Probability of the bands that a streaming step returns."""


def check_start(sensors: int, dtype: torch.dtype) -> None:
    """Raise UsageError unless the number of sensors and the dtype are valid."""
    if sensors < 1:
        raise UsageError(f"expected at least one sensor, got {sensors}")
    if dtype not in (torch.float32, torch.float64):
        raise UsageError(f"expected dtype to be torch.float32 or torch.float64, got {dtype!r}")


def checked_sample(memory: Memory, times: Any, observed: Any) -> tuple[Tensor, Tensor]:
    """Return times (N,) and outputs (N, O), NaN where missing, of the sensors' next sample.

    Raises:
        UsageError: A shape or dtype is wrong, or a time does not come after the last.
    """
    sensors, outputs = memory.shape
    times = _shaped("times", times, (sensors,))
    observed = _shaped("observed", observed, (sensors, outputs))
    if not times.isfinite().all():
        odd = int((~times.isfinite()).nonzero()[0])
        raise UsageError(f"expected finite times, got {float(times[odd])} for sensor {odd}")
    late = memory.late(times)
    if late.any():
        first = int(late.nonzero()[0])
        raise UsageError(
            f"expected times to increase, got {float(times[first]):g} for sensor {first} after "
            f"{float(memory.time[first]):g}"
        )
    # Infinite readings count as missing, as in records.
    return times, torch.where(observed.isfinite(), observed, torch.nan)


def checked_inputs(system: System, sensors: int, inputs: Any) -> Tensor:
    """Return the known inputs (N, I) at the sensors' next sample.

    Raises:
        UsageError: They are missing, not finite, or of a wrong shape.
    """
    names = system.input_names
    if not names:
        return torch.zeros(sensors, 0, dtype=torch.float64)
    if inputs is None:
        raise UsageError(f"expected inputs of {system.name} ({', '.join(names)}), got none")
    known = _shaped("inputs", inputs, (sensors, len(names)))
    if not known.isfinite().all():
        odd = int((~known.isfinite().all(dim=-1)).nonzero()[0])
        raise UsageError(f"expected finite inputs, got {known[odd].tolist()} for sensor {odd}")
    return known


def _shaped(name: str, values: Any, shape: tuple[int, ...]) -> Tensor:
    try:
        array = torch.as_tensor(np.asarray(values, dtype=np.float64).copy())
    except (TypeError, ValueError):
        raise UsageError(f"expected {name} as numbers of shape {shape}, got {values!r}") from None
    if array.ndim == 0:
        array = array.expand(shape)
    elif array.ndim == len(shape) - 1 and shape[0] == 1:
        array = array.unsqueeze(0)
    if tuple(array.shape) != shape:
        raise UsageError(
            f"expected {name} of shape {shape} (one row a sensor), got {tuple(array.shape)}"
        )
    return array
