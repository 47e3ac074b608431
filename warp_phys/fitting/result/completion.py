"""What follows from the unknowns of a stored fit: tied parameters and steady initial states."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.likelihood.derived import Derived
from warp_phys.likelihood.stating.steady_start import default_start
from warp_phys.likelihood.ties import read_ties
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.free_start import with_free_start
from warp_phys.systems.model.system import System

Completion = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def completion_of(fitted: xr.Dataset, system: System) -> tuple[System, Completion | None]:
    """Return the system to integrate, and what completes unknowns; None where nothing follows.

    The second takes parameters (M, P), initial states (M, S) and the trajectories (M,) that they
    belong to.

    Raises:
        UsageError: A tie is a Python function, which a file does not hold.
    """
    settings = json.loads(fitted.attrs.get("settings", "{}"))
    ties = settings.get("ties") or {}
    steady = settings.get("initial_state") == "steady_state"
    if not ties and not steady:
        return system, None
    for name, tie in ties.items():
        if tie is None:
            raise UsageError(
                f"parameter {name!r} was tied by a Python function, which the fit does not hold; "
                "write the tie as an expression, like ties={'k2': '2 * k1'}"
            )
    start = None
    if steady:
        time = torch.as_tensor(np.array(fitted["initial_time"].values, dtype=np.float64))
        start = default_start(system, time, None)
    derived = Derived(read_ties(system, ties, {}), start)

    def complete(parameters: Tensor, initial: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return derived.completed(parameters, initial, rows, None)

    return (with_free_start(system) if steady else system), complete
