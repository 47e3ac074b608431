"""Physical values and bands of what is known in unconstrained coordinates."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit
from torch import Tensor

from warp_phys.likelihood.unknowns import Unknowns
from warp_phys.models.coordinates import implied_initial_state
from warp_phys.systems.model.system import System

# Quantiles are interpolated between these degrees of freedom, in their reciprocals, in which they
# are nearly linear: the error is below 1e-4 of a quantile.
_FEWEST, _KNOTS = 0.5, 2000


def t_quantile(freedom: Tensor, level: float) -> Tensor:
    """Return the half width of the central band of Student's t distribution, same shape.

    Args:
        freedom: Degrees of freedom, infinite for the normal distribution.
        level: Probability inside the band.
    """
    found = np.interp(freedom.clamp_min(_FEWEST).reciprocal().numpy(), *_known_quantiles(level))
    return torch.from_numpy(found).view(freedom.shape)


@lru_cache(maxsize=16)
def _known_quantiles(level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return reciprocals of degrees of freedom, ascending, and the quantiles there."""
    grid = np.linspace(0.0, 1.0 / _FEWEST, _KNOTS)
    with np.errstate(divide="ignore"):
        return grid, stdtrit(1.0 / grid, 0.5 * (1.0 + level))


def physical_values(
    system: System, unknowns: Unknowns, z: Tensor, *, at_start: bool = True
) -> tuple[Tensor, Tensor]:
    """Return parameters (N, ..., P) and states (N, ..., S) at coordinates (N, ..., D).

    Args:
        system: The system.
        unknowns: The unknowns.
        z: Coordinates.
        at_start: Whether states are those at the start, which parameters may imply.
    """
    rows = torch.arange(len(z)).repeat_interleave(z[0, ..., 0].numel())
    parameters, initial = unknowns.physical(z.reshape(-1, z.shape[-1]), rows)
    if system.has_initial_state and at_start:
        initial = implied_initial_state(system, parameters)
    shape = z.shape[:-1]
    return parameters.reshape(*shape, -1), initial.reshape(*shape, -1)


def bands(
    system: System, unknowns: Unknowns, z: Tensor, half_width: Tensor, *, at_start: bool
) -> dict[str, Tensor]:
    """Return estimates and the ends of their bands by the names of the data schema.

    Args:
        system: The system.
        unknowns: The unknowns.
        z: (N, ..., D), coordinates.
        half_width: (N, ..., D), of the bands in coordinates.
        at_start: Whether states are those at the start, which parameters may imply.
    """
    value, *ends = (
        physical_values(system, unknowns, z + sign * half_width, at_start=at_start)
        for sign in (0.0, -1.0, 1.0)
    )
    found = {}
    for place, name in enumerate(("parameters", "initial_state")):
        found[name] = value[place]
        # The bijection of a support with an upper bound alone decreases, which exchanges the ends.
        found[f"{name}_lower"] = torch.minimum(ends[0][place], ends[1][place])
        found[f"{name}_upper"] = torch.maximum(ends[0][place], ends[1][place])
    return found
