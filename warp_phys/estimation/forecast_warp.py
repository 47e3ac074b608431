"""Forecasts of `Warp`: its root network evaluated with frozen weights."""

from __future__ import annotations

import numpy as np
import xarray as xr
from torch import Tensor

from warp_phys.models.warp import Warp
from warp_phys.records.records import read_records
from warp_phys.systems.errors import UsageError
from warp_phys.systems.schema.labels import (
    labeled,
    named_coords,
    stamp,
    time_axis,
    trajectory_coords,
)


def forecast_warp(model: Warp, times: Tensor, data: xr.Dataset | None) -> xr.Dataset:
    """Return outputs of the root network at times (M,), with weights frozen at the last sample."""
    network = model.built()
    if data is None:
        raise UsageError("forecast(model, times) needs the records: pass data=")
    records = read_records(data, None, model.outputs)
    last = records.valid.sum(dim=1) - 1
    theta = network.states_at(network.signals(records), last)
    elapsed = (times - records.times[:, :1]) / network.scaling.duration
    predicted = network.physical(network.frozen(theta, elapsed.to(network.dtype)))
    dataset = labeled(
        {"predicted": predicted.numpy()},
        {
            **trajectory_coords(np.array(records.labels)),
            **time_axis(times.numpy(), records.time_unit),
            **named_coords("output", records.outputs, records.output_units),
        },
    )
    return stamp(
        dataset,
        title="forecast without physics",
        settings={"model": repr(model)},
        function="forecast",
    )
