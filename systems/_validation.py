"""From what the caller of `integrate` gives to a checked `Problem`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems._errors import UsageError
from warp_phys.systems._problem import Problem
from warp_phys.systems._supports import contains, describe

if TYPE_CHECKING:
    from warp_phys.systems._system import System


def build_problem(
    system: System,
    times: Any,
    initial_states: Any,
    parameters: Any,
    *,
    inputs: Any,
    initial_time: Any,
    rtol: float,
    atol: float,
    max_steps: int,
) -> Problem:
    """Check the arguments of `integrate` and bring them into the layout of right-hand sides."""
    initial = _floating("initial_states", initial_states)
    _check_table("initial_states", initial, None, system.state_names)
    count = initial.shape[0]
    table = _like("parameters", parameters, initial)
    _check_table("parameters", table, count, system.parameter_names)
    grid = _time_grid(times, count, initial)
    _check_increasing(grid)
    counts = (~grid.isnan()).sum(dim=1)
    problem = Problem(
        system=system,
        times=torch.where(grid.isnan(), torch.inf, grid).contiguous(),
        counts=counts,
        start=_initial_time(initial_time, grid),
        initial=initial.T.contiguous(),
        parameters=table.T.contiguous(),
        inputs=_inputs(system, inputs, grid, initial),
        rtol=_tolerance("rtol", rtol, initial),
        atol=_tolerance("atol", atol, initial),
        max_steps=check_whole("max_steps", max_steps),
    )
    _check_supports(problem)
    return problem


def valid_trajectories(problem: Problem) -> Tensor:
    """Return (N,), True where initial state, parameters and inputs are finite numbers."""
    valid = problem.initial.isfinite().all(dim=0) & problem.parameters.isfinite().all(dim=0)
    if problem.inputs is not None:
        given = problem.inputs.isfinite() | problem.times.isinf()
        valid = valid & given.all(dim=2).all(dim=0)
    return valid


def check_whole(name: str, value: Any) -> int:
    """Return a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"expected {name} as a whole number, 1 or more; received {value!r}")
    return value


def _floating(name: str, value: Any) -> Tensor:
    """Return a tensor of float64 or float32; other dtypes are the caller's to convert."""
    if isinstance(value, Tensor):
        if value.dtype in (torch.float64, torch.float32):
            return value
        dtype, advice = str(value.dtype).removeprefix("torch."), f"{name}.double()"
    else:
        array = np.asarray(value)
        if array.dtype in (np.float64, np.float32):
            return torch.from_numpy(np.array(array))
        dtype, advice = str(array.dtype), f"np.asarray({name}, dtype=np.float64)"
    raise UsageError(f"expected {name} in float64 (or float32), received {dtype}; write {advice}")


def _like(name: str, value: Any, like: Tensor) -> Tensor:
    """Return a floating tensor of the dtype and device of `like`, which is initial_states."""
    tensor = _floating(name, value)
    if tensor.dtype != like.dtype:
        wanted, came = (str(t.dtype).removeprefix("torch.") for t in (like, tensor))
        raise UsageError(
            f"expected {name} in {wanted} like initial_states, received {came}; convert one of them"
        )
    if tensor.device != like.device:
        raise UsageError(
            f"expected {name} on {like.device} like initial_states, received it on {tensor.device}"
        )
    return tensor


def _check_table(name: str, value: Tensor, count: int | None, columns: tuple[str, ...]) -> None:
    shape = tuple(value.shape)
    if value.ndim == 2 and shape[0] == 0:
        raise UsageError(f"{name} hold no trajectory: received shape {shape}")
    if value.ndim == 2 and shape[1] == len(columns) and count in (None, shape[0]):
        return
    rows = "N" if count is None else str(count)
    hint = ""
    if value.ndim == 1 and shape[0] == len(columns):
        hint = f"; for one trajectory write {name}[None]"
    elif value.ndim == 2 and shape[0] == len(columns) and count in (None, shape[1]):
        hint = "; trajectories come first: transpose it"
    elif value.ndim == 2 and shape[1] == len(columns):
        hint = "; initial_states and parameters need one row for each trajectory"
    raise UsageError(
        f"expected {name} of shape ({rows}, {len(columns)}), one column for each of "
        f"{', '.join(columns) or 'no names'}; received {shape}{hint}"
    )


def _time_grid(times: Any, count: int, like: Tensor) -> Tensor:
    grid = _floating("times", times).to(dtype=like.dtype, device=like.device)
    shape = tuple(grid.shape)
    if grid.ndim == 1 and shape[0] > 0:
        return grid.expand(count, -1)
    if grid.ndim == 2 and shape[0] == count and shape[1] > 0:
        return grid
    hint = ""
    if grid.ndim == 2 and (shape[1] == count or shape[1] == 1):
        hint = "; time runs along the last axis: transpose it"
    raise UsageError(
        f"expected times of shape (T,) or ({count}, T), T at least 1; received {shape}{hint}"
    )


def _check_increasing(grid: Tensor) -> None:
    known = ~grid.isnan()
    if not bool(known[:, 0].all()):
        index = int((~known[:, 0]).nonzero()[0])
        raise UsageError(
            f"times of trajectory {index} start with NaN; pad with NaN at the end only"
        )
    broken = known[:, 1:] & ~known[:, :-1]
    if bool(broken.any()):
        index, sample = broken.nonzero()[0].tolist()
        raise UsageError(
            f"times of trajectory {index} go on after NaN at sample {sample + 1}; "
            "pad with NaN at the end only"
        )
    if bool(grid.isinf().any()):
        index, sample = grid.isinf().nonzero()[0].tolist()
        raise UsageError(f"times of trajectory {index} are infinite at sample {sample}")
    falling = grid[:, 1:] <= grid[:, :-1]
    if bool(falling.any()):
        index, sample = falling.nonzero()[0].tolist()
        before, after = grid[index, sample].item(), grid[index, sample + 1].item()
        raise UsageError(
            f"times should increase strictly along the last axis; trajectory {index} goes from "
            f"{before:g} to {after:g} at sample {sample + 1}; sort the samples and drop repeats"
        )


def _initial_time(initial_time: Any, grid: Tensor) -> Tensor:
    if initial_time is None:
        return grid[:, 0]
    number = isinstance(initial_time, int | float)
    value = torch.tensor(float(initial_time)) if number else _floating("initial_time", initial_time)
    count = grid.shape[0]
    if value.ndim > 1 or (value.ndim == 1 and value.shape[0] != count):
        raise UsageError(
            f"expected initial_time as a number or of shape ({count},); "
            f"received {tuple(value.shape)}"
        )
    start = value.to(dtype=grid.dtype, device=grid.device).expand(count)
    late = ~(start <= grid[:, 0]) | start.isinf()
    if bool(late.any()):
        index = int(late.nonzero()[0])
        raise UsageError(
            f"initial_time should not come after the first sample; trajectory {index} has "
            f"initial_time {start[index].item():g} and first sample {grid[index, 0].item():g}"
        )
    return start


def _inputs(system: System, inputs: Any, grid: Tensor, like: Tensor) -> Tensor | None:
    name = type(system).__name__
    if not system.inputs:
        if inputs is not None:
            raise UsageError(f"{name} has no external inputs; received inputs, leave them out")
        return None
    expected = (*grid.shape, len(system.inputs))
    if inputs is None:
        raise UsageError(
            f"{name} has external inputs ({', '.join(system.input_names)}); "
            f"expected inputs of shape {expected}, received none"
        )
    values = _like("inputs", inputs, like)
    if tuple(values.shape) != expected:
        raise UsageError(
            f"expected inputs of shape (N, T, I) = {expected}, one column for each of "
            f"{', '.join(system.input_names)}; received {tuple(values.shape)}"
        )
    return values.permute(2, 0, 1).contiguous()


def _tolerance(name: str, value: float, like: Tensor) -> float:
    if not isinstance(value, int | float) or not (math.isfinite(value) and 0.0 < value < 1.0):
        raise UsageError(f"expected {name} between 0 and 1, received {value!r}")
    if name == "atol":
        return float(value)
    # Below this, rounding alone makes a step look too long.
    return max(float(value), 100.0 * torch.finfo(like.dtype).eps)


def _check_supports(problem: Problem) -> None:
    parameters = problem.system.parameters
    for values, parameter in zip(problem.parameters, parameters, strict=True):
        outside = values.isfinite() & ~contains(values, parameter.support)
        if bool(outside.any()):
            index = int(outside.nonzero()[0])
            raise UsageError(
                f"parameter {parameter.name!r} of trajectory {index} is "
                f"{values[index].item():g} {parameter.unit}, outside its support "
                f"({describe(parameter.support)})"
            )
