"""Estimates: parameters at every sample of every trajectory, without gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr

from warp_phys.models.bands import check_level
from warp_phys.models.estimator import Estimates
from warp_phys.models.roots import FLOW
from warp_phys.models.training_range import OUT_OF_RANGE
from warp_phys.models.warp_phys import WarpPhys
from warp_phys.records.records import Records, read_records
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.labels import (
    labelled,
    output_coords,
    parameter_coords,
    stamp,
    state_coords,
    time_coords,
    trajectory_coords,
)


@torch.no_grad()
def estimate(
    model: WarpPhys, data: xr.Dataset, *, level: float = 0.9, progress: bool = True
) -> xr.Dataset:
    """Estimate the parameters behind records, at every sample from the samples so far.

    Args:
        model: Trained, or with the regression head, which needs no training.
        data: Records of the system: `observed` on a shared or on own time grids, NaN where
            missing. Times may start anywhere; they are counted from each first sample.
        level: Probability inside the band of each unknown.
        progress: Show a progress bar on long work.

    Returns:
        `parameters`, `parameters_lower`, `parameters_upper` (trajectory, time, parameter);
        `initial_state` (trajectory, time, state), the state at the first sample, and its band;
        `noise_sd` where the training data had noise; `predicted` (trajectory, time, output), each
        from the parameters at that sample; `unknowns` and `unknowns_covariance`, the distribution
        in unconstrained coordinates that `forecast` draws from (not after training by
        reconstruction alone); `out_of_range` (trajectory), whose
        bits say how a record differs from the training data (0: it does not). The regression
        head gives `parameters` (NaN where the data cannot tell), `coordinates`, `predicted` and
        `initial_time`, when its `initial_state` holds, and no bands. With `drive="log_difference"`
        it takes a sample for a gap where one of the states it reads by logarithm is not positive.

    Raises:
        UsageError: The model is not trained, or the records are not what it reads.
        SchemaError: The data set does not follow the schema.

    Example:
        >>> from warp_phys.data_gen import simulate
        >>> data = simulate("lotka_volterra", n=2, times=np.linspace(0.0, 5.0, 41), seed=0)
        >>> found = estimate(WarpPhys("lotka_volterra", head="regression"), data)
        >>> bool(abs(found.parameters[:, -1] / data.true_parameters - 1).max() < 0.01)
        True
    """
    check_level(level)
    estimator = model.estimator()
    records = read_records(data, model.system, estimator.outputs)
    found = estimator.estimate(records, level, show=progress)
    dataset = _labelled(model.system, records, found)
    settings = {"model": repr(model)} | dict(found.settings)
    return _finish(dataset, model, data, settings).assign_attrs(dict(found.attrs))


def _labelled(system: System, records: Records, found: Estimates) -> xr.Dataset:
    times = records.times if records.own_grids else records.times[0]
    arrays: dict[str, Any] = {name: value.numpy() for name, value in found.values.items()}
    if "out_of_range" in arrays:
        arrays["out_of_range"] = out_of_range_variable(arrays["out_of_range"])
    return labelled(
        arrays,
        {
            **trajectory_coords(np.array(records.labels)),
            **time_coords(system, times.numpy()),
            **parameter_coords(system),
            **state_coords(system),
            **output_coords(system, records.outputs),
            **found.coords,
        },
    )


def out_of_range_variable(flags: np.ndarray[Any, Any]) -> xr.Variable:
    """Return the bits of `OUT_OF_RANGE` with their CF meanings."""
    return xr.Variable(
        "trajectory",
        flags,
        {
            "long_name": "how the record differs from the training data",
            "flag_masks": np.array(list(OUT_OF_RANGE)),
            "flag_meanings": " ".join(text.replace(" ", "_") for text in OUT_OF_RANGE.values()),
        },
    )


def _finish(
    dataset: xr.Dataset, model: WarpPhys, data: xr.Dataset, settings: Mapping[str, Any]
) -> xr.Dataset:
    history = {"history": data.attrs["history"]} if "history" in data.attrs else {}
    return stamp(
        dataset.assign_attrs(history),
        title=f"estimates of {model.system.name}",
        system=model.system,
        settings=settings,
        references=model.system.reference,
        function="estimate",
        rtol=FLOW["rtol"],
        atol=FLOW["atol"],
    )
