"""Estimates: parameters at every sample of every trajectory, without gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from warp_phys.models.bands import bands, check_level
from warp_phys.models.coordinates import Physical
from warp_phys.models.core import blocks
from warp_phys.models.gaussian import Gaussian
from warp_phys.models.network import Network
from warp_phys.models.regression.head import Regression
from warp_phys.models.roots import predict
from warp_phys.models.warp_phys import WarpPhys
from warp_phys.records.records import Records, read_records, result_coords
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.labels import (
    declared_coords,
    labeled,
    named_coords,
    stamp,
)

# Far below any band, and cheap. A prediction that takes more steps from sample to sample starts
# from a wild value, and stays NaN.
_FLOW = {"rtol": 1e-6, "atol": 1e-9, "max_steps": 1000}


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
    if model.settings.head == "regression":
        return _by_regression(model, data)
    network, facts = model.built()
    records = read_records(data, model.system, facts.outputs)
    length = records.times.shape[1]
    pieces: list[dict[str, Tensor]] = []
    for piece in tqdm(
        blocks(len(records), length), desc="estimate", delay=2.0, disable=not progress
    ):
        pieces.append(_block(model, records.select(piece), level))
    values = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
    if not facts.supervised:
        # Reconstruction trains the means alone: forecasts must not draw from untrained scales.
        del values["unknowns"], values["unknowns_covariance"]
    constant = bool((network.coordinates.constant_noise > 0).any())
    noise_known = constant or bool(network.coordinates.positions("noise_sd"))
    dataset = _labeled(
        model.system,
        records,
        values,
        noise=noise_known,
        extra=unknown_coords(network) if facts.supervised else None,
    )
    calibrated = network.calibration.measured
    settings = {"model": repr(model), "level": level, "calibrated": calibrated}
    return _finish(dataset, model, records, settings).assign_attrs(
        band_level=level, distribution=facts.distribution
    )


def _block(model: WarpPhys, records: Records, level: float) -> dict[str, Tensor]:
    """Estimate for some trajectories; everything behind a record's last sample is NaN."""
    network, _ = model.built()
    emitted: Gaussian = network(network.signals(records), network.elapsed(records))
    length = records.times.shape[1]
    position = torch.arange(1, length + 1).expand(len(records), -1)
    value, lower, upper = bands(network, emitted, position, level)
    last = records.valid.sum(dim=1) - 1
    final = emitted.mean[torch.arange(len(records)), last]
    widening = network.calibration.widening(position)
    covariance = emitted.covariance() * widening.unsqueeze(-1) * widening.unsqueeze(-2)
    spread = network.coordinates.spread
    values = {
        "parameters": value.parameters,
        "parameters_lower": lower.parameters,
        "parameters_upper": upper.parameters,
        "initial_state": value.initial_state,
        "initial_state_lower": lower.initial_state,
        "initial_state_upper": upper.initial_state,
        "noise_sd": value.noise_sd,
        "predicted": predict(model.system, model.root, records, value, **_FLOW),
        "unknowns": network.coordinates.unscaled(emitted.mean),
        "unknowns_covariance": covariance * spread.outer(spread),
    }
    padding = ~records.valid
    for array in values.values():
        array[padding] = torch.nan
    return values | {"out_of_range": network.limits.flags(records, final)}


def _by_regression(model: WarpPhys, data: xr.Dataset) -> xr.Dataset:
    head = Regression.from_settings(model.system, model.settings)
    records = head.readable(read_records(data, model.system, model.system.output_names))
    coordinates = head.estimate(records)
    parameters = head.parameters(coordinates)
    complete = records.seen.all(dim=-1)
    first = complete.long().argmax(dim=1)
    start = records.observed[torch.arange(len(records)), first]
    known = complete.cummax(dim=1).values
    values = {
        "parameters": parameters,
        "initial_state": torch.where(known.unsqueeze(-1), start.unsqueeze(1), torch.nan),
        "coordinates": coordinates,
    }
    unknowns = Physical(parameters, values["initial_state"], records.observed[..., :0])
    if parameters.isfinite().any():
        values["predicted"] = predict(model.system, "step", records, unknowns, **_FLOW)
    for array in values.values():
        array[~records.valid] = torch.nan
    # The first complete sample is the first state known, and it may come late.
    values["initial_time"] = records.times[torch.arange(len(records)), first]
    extra = named_coords("coordinate", head.names, head.units)
    dataset = _labeled(model.system, records, values, extra=extra)
    return _finish(dataset, model, records, {"model": repr(model)})


def _labeled(
    system: System,
    records: Records,
    values: Mapping[str, Tensor],
    *,
    noise: bool = False,
    extra: Mapping[str, xr.Variable] | None = None,
) -> xr.Dataset:
    arrays: dict[str, Any] = {name: value.numpy() for name, value in values.items()}
    if not noise:
        arrays.pop("noise_sd", None)
    return labeled(arrays, {**result_coords(system, records), **(extra or {})})


def unknown_coords(network: Network) -> dict[str, xr.Variable]:
    """Return the names of the unknowns and what each is."""
    entries = network.coordinates.entries
    names = np.array([entry.name for entry in entries], dtype=str)
    kinds = np.array([entry.kind for entry in entries], dtype=str)
    return declared_coords(unknown=names, unknown_kind=kinds)


def _finish(
    dataset: xr.Dataset, model: WarpPhys, records: Records, settings: Mapping[str, Any]
) -> xr.Dataset:
    return stamp(
        dataset,
        title=f"estimates of {model.system.name}",
        system=model.system,
        settings=settings,
        references=model.system.reference,
        function="estimate",
        history=records.history,
        rtol=_FLOW["rtol"],
        atol=_FLOW["atol"],
    )
