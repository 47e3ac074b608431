"""Streaming: one sample of many sensors at a time, in constant memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from warp_phys._bands import bands
from warp_phys._core import Stream as NetworkStream
from warp_phys._regression import Regression, RegressionStream
from warp_phys.systems._errors import UsageError

if TYPE_CHECKING:
    from warp_phys._model import WarpPhys

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


def stream_start(model: WarpPhys, sensors: int) -> Stream:
    """Return the memory of sensors before their first sample."""
    if sensors < 1:
        raise UsageError(f"expected at least one sensor, got {sensors}")
    if model.settings.head == "regression":
        return Regression(model.system, model.settings.forgetting).start(sensors)
    return model.built()[0].init_stream(sensors)


@torch.no_grad()
def stream_step(
    model: WarpPhys, stream: Stream, times: Any, observed: Any, inputs: Any
) -> tuple[Stream, StreamEstimate]:
    """Take in one sample of every sensor; see `WarpPhys.step`."""
    if isinstance(stream, RegressionStream):
        sensors, outputs = stream.first.shape
    else:
        sensors, outputs = stream.last.shape
    times = _shaped("times", times, (sensors,))
    observed = _shaped("observed", observed, (sensors, outputs))
    observed = torch.where(observed.isfinite(), observed, torch.nan)
    known = _shaped("inputs", [] if inputs is None else inputs, (sensors, len(model.system.inputs)))
    if isinstance(stream, RegressionStream):
        return _regression_step(model, stream, times, observed, known)
    if stream.count and not (times - stream.start > stream.elapsed).all():
        late = int((~(times - stream.start > stream.elapsed)).nonzero()[0])
        raise UsageError(
            f"expected times to increase, got {float(times[late]):g} for sensor {late} after "
            f"{float(stream.start[late] + stream.elapsed[late]):g}"
        )
    network, _ = model.built()
    memory, estimate = network.estimate_step(stream, times, observed, known)
    position = torch.full((sensors,), memory.count)
    value, lower, upper = bands(network, estimate, position, BAND_LEVEL)
    return memory, StreamEstimate(
        value.parameters, lower.parameters, upper.parameters, value.initial_state
    )


def _regression_step(
    model: WarpPhys, stream: RegressionStream, times: Tensor, observed: Tensor, inputs: Tensor
) -> tuple[Stream, StreamEstimate]:
    head = Regression(model.system, model.settings.forgetting)
    memory, coordinates = head.step(stream, times, observed, inputs)
    parameters = head.parameters(coordinates)
    unknown = torch.full_like(parameters, torch.nan)
    return memory, StreamEstimate(parameters, unknown, unknown, memory.first)


def _shaped(name: str, values: Any, shape: tuple[int, ...]) -> Tensor:
    array = torch.as_tensor(np.asarray(values, dtype=np.float64))
    if array.numel() == 0 and 0 in shape:
        return torch.zeros(shape, dtype=torch.float64)
    if array.ndim == 0 or (array.ndim < len(shape) and shape[0] == 1):
        array = array.expand(shape)
    if tuple(array.shape) != shape:
        raise UsageError(
            f"expected {name} of shape {shape} (one row a sensor), got {tuple(array.shape)}"
        )
    return array
