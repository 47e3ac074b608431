"""What the controls know of a task: the flow of its system, and what its records identify."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from benchmarks.paper._tasks import Floats, Split, Task, combinations
from warp_phys.data_gen.recipes.repeat_copy import repeat_copy
from warp_phys.systems import System, integrate

# As the data sets themselves are solved.
_RTOL, _ATOL = 1e-9, 1e-14


def held_system(task: Task) -> System:
    """Return the system with the mass held, and the ranges of the training set for the rest.

    Free vibration tells k/m and c/m alone, so the controls fix m in the middle of its range.
    """
    system = type(task.system)
    held = {"m": _mass(task)} if _vibrates(task.system) else {}
    truth = held_parameters(task, task.train)
    ranges = {
        parameter.name: (float(column.min()), float(column.max()))
        for parameter, column in zip(task.system.parameters, truth.T, strict=True)
        if parameter.fixed is None and parameter.name not in held and np.ptp(column) > 0.0
    }
    return system(**held, **ranges)


def held_parameters(task: Task, split: Split) -> Floats:
    """Return the true parameters (N, P), scaled to the mass of `held_system`."""
    return scaled_to_mass(task, split.data["true_parameters"]).values


def scaled_to_mass(task: Task, parameters: xr.DataArray) -> xr.DataArray:
    """Return parameters (trajectory, ..., parameter) of the same motion with the mass held."""
    if not _vibrates(task.system):
        return parameters
    return parameters * (_mass(task) / parameters.sel(parameter="m", drop=True))


def named(task: Task, parameters: Floats) -> dict[str, Floats]:
    """Return the identifiable combinations, each (N,), of parameters (N, P)."""
    names = task.system.parameter_names
    return combinations(task, dict(zip(names, parameters.T, strict=True)))


def context_data(split: Split, *, cycle: bool = False) -> xr.Dataset:
    """Return what was observed of each record within its context, and nothing else.

    Args:
        split: The records.
        cycle: Whether they are of repeat-copy, whose context ends with a zero that tells the
            length of the cycle and is no sample of the trajectory.

    Returns:
        `observed` on the grid up to the longest context, NaN behind shorter ones.
    """
    counts = split.context - 1 if cycle else split.context
    data = split.data[["observed"]].isel(time=slice(int(counts.max())))
    within = np.arange(data.sizes["time"]) < counts[:, None]
    seen = xr.DataArray(within, dims=("trajectory", "time"))
    attributes = data["observed"].attrs
    return data.assign(observed=data["observed"].where(seen).assign_attrs(attributes))


def physics_outputs(task: Task, split: Split, parameters: Floats, initial_states: Floats) -> Floats:
    """Return the outputs (N, T, O) that physics gives over all of a split's times.

    Args:
        task: The task; the root of repeat-copy knows the period, so its trajectory is shown up to
            the cycle's length, then zeros, and again.
        split: The records.
        parameters: (N, P).
        initial_states: At the first sample, (N, S).

    Returns:
        The outputs, NaN in records whose arguments are not finite or that cannot be integrated.
    """
    outputs = flow_outputs(task.system, split.times, parameters, initial_states)
    if task.cycle_gap is None:
        return outputs
    return repeat_copy(outputs, split.context - 1, task.cycle_gap)[1]


def flow_outputs(
    system: System, times: Floats, parameters: Floats, initial_states: Floats
) -> Floats:
    """Return the outputs (N, T, O) at times (T,) of records that start at the first of them."""
    p = torch.tensor(parameters)
    states = integrate(
        system, times, torch.tensor(initial_states), p, rtol=_RTOL, atol=_ATOL
    ).states
    outputs = system.outputs_at(
        torch.tensor(times), states.movedim(2, 0), p.T[:, :, None].expand(-1, -1, len(times))
    )
    found: Floats = outputs.movedim(0, 2).contiguous().numpy()
    return found


def failed_records(split: Split, outputs: Floats) -> NDArray[np.bool_]:
    """Return which records (N,) have outputs (N, T, O) behind their context that are no numbers."""
    behind = np.arange(outputs.shape[1]) >= split.context[:, None]
    lost = behind & ~np.isfinite(outputs).all(axis=2)
    return np.asarray(lost.any(axis=1))


def _vibrates(system: System) -> bool:
    return {"m", "k", "c"} <= set(system.parameter_names)


def _mass(task: Task) -> float:
    span = task.system.parameters[task.system.parameter_names.index("m")].range
    if span is None:
        raise ValueError("the mass has no range to take the middle of")
    return 0.5 * (span[0] + span[1])
