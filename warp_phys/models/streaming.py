"""Streaming: one sample of many sensors at a time, in constant memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.models.bands import bands
from warp_phys.models.core import Stream as NetworkStream
from warp_phys.models.regression.head import Regression, RegressionStream
from warp_phys.systems.errors import UsageError

if TYPE_CHECKING:
    from warp_phys.models.warp_phys import WarpPhys

Stream = NetworkStream | RegressionStream

BAND_LEVEL = 0.9
"""Probability of the bands that a streaming step returns."""


@dataclass(frozen=True)
class StreamEstimate:
    """The estimate after the newest sample of N sensors.

    Attributes:
        parameters: (N, P), fixed ones included.
        lower: (N, P), lower end of the 90 % band; NaN where the model has none.
        upper: (N, P), upper end.
        initial_state: (N, S) at the first sample.
    """

    parameters: Tensor
    lower: Tensor
    upper: Tensor
    initial_state: Tensor


def stream_start(model: WarpPhys, sensors: int, dtype: torch.dtype) -> Stream:
    """Return the memory of sensors before their first sample; see `WarpPhys.init_state`."""
    check_start(sensors, dtype)
    if model.settings.head == "regression":
        if dtype != torch.float64:
            raise UsageError(
                f"expected dtype=torch.float64 for the regression head, whose sums need its "
                f"digits, got {dtype}"
            )
        return Regression.from_settings(model.system, model.settings).start(sensors)
    return model.built()[0].init_stream(sensors, dtype)


def check_start(sensors: int, dtype: torch.dtype) -> None:
    """Raise UsageError unless a stream of so many sensors can be computed in a dtype."""
    if sensors < 1:
        raise UsageError(f"expected at least one sensor, got {sensors}")
    if dtype not in (torch.float32, torch.float64):
        raise UsageError(f"expected dtype to be torch.float32 or torch.float64, got {dtype!r}")


@torch.no_grad()
def stream_step(
    model: WarpPhys, stream: Stream, times: Any, observed: Any, inputs: Any
) -> tuple[Stream, StreamEstimate]:
    """Take in one sample of every sensor; see `WarpPhys.step`."""
    times, observed = checked_sample(stream, times, observed)
    known = _known_inputs(model, len(times), inputs)
    if isinstance(stream, RegressionStream):
        return _regression_step(model, stream, times, observed, known)
    network = model.built()[0].of_dtype(stream.signals.dtype)
    memory, estimate = network.estimate_step(stream, times, observed, known)
    value, lower, upper = bands(network, estimate, torch.tensor([memory.count]), BAND_LEVEL)
    found = value.parameters, lower.parameters, upper.parameters, value.initial_state
    return memory, StreamEstimate(*(part.double() for part in found))


def _regression_step(
    model: WarpPhys, stream: RegressionStream, times: Tensor, observed: Tensor, inputs: Tensor
) -> tuple[Stream, StreamEstimate]:
    head = Regression.from_settings(model.system, model.settings)
    memory, coordinates = head.step(stream, times, observed, inputs)
    parameters = head.parameters(coordinates)
    unknown = torch.full_like(parameters, torch.nan)
    return memory, StreamEstimate(parameters, unknown, unknown, memory.first)


def checked_sample(stream: Stream, times: Any, observed: Any) -> tuple[Tensor, Tensor]:
    """Return times (N,) and outputs (N, O), NaN where missing, of the sensors' next sample.

    Raises:
        UsageError: A shape or dtype is wrong, or a time does not come after the last.
    """
    memory = stream.first if isinstance(stream, RegressionStream) else stream.last
    sensors, outputs = memory.shape
    times = _shaped("times", times, (sensors,))
    observed = _shaped("observed", observed, (sensors, outputs))
    if not times.isfinite().all():
        odd = int((~times.isfinite()).nonzero()[0])
        raise UsageError(f"expected finite times, got {float(times[odd])} for sensor {odd}")
    if isinstance(stream, RegressionStream):
        last = stream.times[:, -1]
        late = (stream.count > 0) & (times <= last)
    else:
        last = stream.start + stream.elapsed
        late = (times - stream.start <= stream.elapsed) & (stream.count > 0)
    if late.any():
        first = int(late.nonzero()[0])
        raise UsageError(
            f"expected times to increase, got {float(times[first]):g} for sensor {first} after "
            f"{float(last[first]):g}"
        )
    return times, torch.where(observed.isfinite(), observed, torch.nan)


def _known_inputs(model: WarpPhys, sensors: int, inputs: Any) -> Tensor:
    names = model.system.input_names
    if not names:
        return torch.zeros(sensors, 0, dtype=torch.float64)
    if inputs is None:
        raise UsageError(f"expected inputs of {model.system.name} ({', '.join(names)}), got none")
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
