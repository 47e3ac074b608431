"""The arguments of `fit` that state a PEtab problem, and what they cannot state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from warp_phys.petab.assemble import STEADY_START, Assembled
from warp_phys.petab.slots import Floats
from warp_phys.petab.tables import TableParameter
from warp_phys.systems.errors import UnsupportedError


def group_name(parameter: str) -> str:
    """Return the name of the variable of the data set that says who shares a parameter."""
    return f"group_of_{parameter}"


def group_labels(assembled: Assembled) -> dict[str, np.ndarray]:
    """Return labels (N,) by variable: the problem's parameter that a trajectory has, or "known"."""
    return {
        group_name(parameter.name): np.array(
            [value if isinstance(value, str) else "known" for value in source]
        )
        for parameter, source in zip(assembled.system.parameters, assembled.sources, strict=True)
        if parameter.fixed is None and len(set(source)) > 1
    }


def fit_arguments(assembled: Assembled, table: Mapping[str, TableParameter]) -> dict[str, Any]:
    """Return the arguments of `fit` besides the system, the data and the noise.

    Raises:
        UnsupportedError: Some experiments begin in a steady state and others do not.
    """
    steady = np.array([one.before is not None for one in assembled.layout.trajectories])
    if steady.any() and not steady.all():
        raise UnsupportedError(
            "some experiments begin in a steady state and others do not, which fit cannot state; "
            "use log_likelihood"
        )
    arguments: dict[str, Any] = {
        "initial_time": STEADY_START if steady.any() else 0.0,
        "bounds": _bounds(assembled, table),
    }
    if steady.any():
        arguments["initial_state"] = "steady_state"
    if fixed := _fixed(assembled):
        arguments["fixed"] = fixed
    if len(assembled.layout.trajectories) > 1 and (shared := _shared(assembled)):
        arguments["shared"] = shared
    return arguments


def _bounds(
    assembled: Assembled, table: Mapping[str, TableParameter]
) -> dict[str, tuple[float | None, float | None]]:
    """Return the bounds of each free parameter, None where there are none."""
    found: dict[str, tuple[float | None, float | None]] = {}
    for parameter, source in zip(assembled.system.parameters, assembled.sources, strict=True):
        names = [value for value in source if isinstance(value, str)]
        if names:
            entry = table[names[0]]
            low = None if entry.scale != "lin" and entry.lower <= 0.0 else entry.lower
            pair = (low, entry.upper)
            found[parameter.name] = tuple(  # type: ignore[assignment]
                end if end is not None and math.isfinite(end) else None for end in pair
            )
    return found


def _fixed(assembled: Assembled) -> dict[str, Floats]:
    """Return values (N,) of what trajectories know, NaN where a parameter is estimated."""
    return {
        parameter.name: np.array([np.nan if isinstance(v, str) else v for v in source])
        for parameter, source in zip(assembled.system.parameters, assembled.sources, strict=True)
        if len(set(source)) > 1 and any(not isinstance(value, str) for value in source)
    }


def _shared(assembled: Assembled) -> dict[str, str]:
    groups = group_labels(assembled)
    return {
        parameter.name: group_name(parameter.name)
        if group_name(parameter.name) in groups
        else "all"
        for parameter in assembled.system.free_parameters
    }
