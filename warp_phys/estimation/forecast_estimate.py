"""The start of a forecast from an estimate: the unknowns at the last sample of each record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.estimation.forecast_bands import Frozen, Place, Spread
from warp_phys.fitting.result.read import noise_model
from warp_phys.models.coordinates import Physical
from warp_phys.systems.forcing.dataset import read_doses
from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System

# A draw that takes more steps than this is far from the data, and stays NaN.
_MAX_STEPS = 1000


def freeze_estimate(estimated: xr.Dataset, system: System) -> Frozen:
    """Return each trajectory's unknowns at its last sample, and their spread where it is known."""
    times = estimated["time"].values
    count = estimated.sizes["trajectory"]
    grid = np.broadcast_to(times, (count, times.shape[-1]))
    last = np.isfinite(grid).sum(axis=1) - 1
    rows = np.arange(count)

    def at_last(name: str) -> Tensor:
        return torch.as_tensor(estimated[name].values[rows, last])

    outputs = [str(name) for name in estimated["output"].values]
    quiet = torch.zeros(count, len(outputs), dtype=torch.float64)
    noise = at_last("noise_sd") if "noise_sd" in estimated else quiet
    first = estimated["initial_time"].values if "initial_time" in estimated else grid[:, 0]
    if estimated.attrs.get("state_at") == "sample":
        first = grid[rows, last]  # parameters drift, and states are those at each sample
    spread = None
    if "unknowns" in estimated:
        kinds, names = estimated["unknown_kind"].values, estimated["unknown"].values
        places = [
            _where(system, str(kind), str(name), outputs)
            for kind, name in zip(kinds, names, strict=True)
        ]
        spread = Spread(places, at_last("unknowns"), _root(at_last("unknowns_covariance")))
    return Frozen(
        labels=estimated["trajectory"].values,
        history=str(estimated.attrs.get("history", "")),
        unknowns=Physical(at_last("parameters"), at_last("initial_state"), noise),
        start=torch.as_tensor(first.copy()),
        outputs=outputs,
        distribution=noise_model(estimated),
        spread=spread,
        max_steps=_MAX_STEPS,
        doses=read_doses(estimated, system, estimated["trajectory"].values.tolist()),
    )


def _root(covariance: Tensor) -> Tensor:
    """Return a square root of covariances (N, Q, Q)."""
    # By eigenvalues and not by Cholesky: a tightly determined combination leaves some eigenvalues
    # at round-off, where they may be negative.
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0.0).sqrt().unsqueeze(-2)


def _where(system: System, kind: str, name: str, outputs: list[str]) -> Place:
    """Return where an unknown belongs: its kind, its place there, and its support."""
    if kind == "noise_sd":
        return kind, outputs.index(name), "positive"
    specs: Sequence[Parameter | State] = system.parameters
    if kind == "initial_state":
        specs = system.states
    index = [spec.name for spec in specs].index(name)
    return kind, index, specs[index].support
