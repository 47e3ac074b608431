"""Checks the arguments of `integrate`, and builds a `Problem` from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems.dynamics.arrays import floating, floating_like, time_grid
from warp_phys.systems.dynamics.forcing_arguments import read_doses, read_schedule
from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.dynamics.scheduled_times import scheduled_times
from warp_phys.systems.dynamics.sizes import with_guessed_tolerances
from warp_phys.systems.errors import UsageError
from warp_phys.systems.forcing.doses import Dose
from warp_phys.systems.forcing.dosing import with_dosing
from warp_phys.systems.forcing.schedule import Schedule
from warp_phys.systems.model.supports import contains, describe

if TYPE_CHECKING:
    from warp_phys.systems.model.system import System


def build_problem(
    system: System,
    times: Any,
    initial_states: Any,
    parameters: Any,
    *,
    inputs: Any,
    input_times: Any,
    doses: Sequence[Dose],
    initial_time: Any,
    rtol: float,
    atol: float | None,
    max_steps: int,
    relative: bool = False,
) -> Problem:
    """Check the arguments of `integrate`, and transpose them to the layout of right-hand sides.

    Arguments have trajectories first, (N, S) and (N, P); right-hand sides take (S, N) and (P, N),
    so that a state of all trajectories is contiguous and `y[0]` is a state.
    """
    initial = floating("initial_states", initial_states)
    _check_table("initial_states", initial, None, system.state_names)
    count = initial.shape[0]
    table = floating_like("parameters", parameters, initial)
    _check_table("parameters", table, count, system.parameter_names)
    grid, counts = time_grid("times", times, count, initial)
    start = _initial_time(initial_time, grid)
    given = read_doses(system, doses, start, initial)
    dosed = with_dosing(system, given)
    if dosed is not None:
        system, given = dosed.system, dosed.plain
        table = torch.cat([table, dosed.columns.to(table)], dim=1)
    problem = Problem(
        system=system,
        times=grid,
        counts=counts,
        start=start,
        initial=initial.T.contiguous(),
        parameters=table.T.contiguous(),
        schedule=read_schedule(
            system,
            inputs,
            input_times,
            given,
            grid,
            initial,
        ),
        rtol=_relative_tolerance(rtol, initial),
        atol=_absolute_tolerance(atol, initial),
        max_steps=check_whole("max_steps", max_steps),
        relative=relative,
    )
    _check_supports(problem)
    problem = _with_scheduled_stops(problem)
    return problem if atol is not None else with_guessed_tolerances(problem)


def _with_scheduled_stops(problem: Problem) -> Problem:
    """Return the problem with stops just after the times at which a schedule changes."""
    times = scheduled_times(problem.system, problem.start, problem.end, problem.parameters)
    if not times.shape[1]:
        return problem
    schedule = problem.schedule or Schedule(times[:, :0], None, None, None, None)
    return replace(problem, schedule=schedule.with_stops(times))


def valid_trajectories(problem: Problem) -> Tensor:
    """Return (N,), True if initial state, parameters, inputs and doses are finite numbers."""
    valid = problem.initial.isfinite().all(dim=0) & problem.parameters.isfinite().all(dim=0)
    if problem.schedule is not None:
        outside = (problem.schedule.jumps, problem.schedule.first, problem.schedule.slope)
        for tensor in outside:
            if tensor is not None:
                valid = valid & tensor.isfinite().all(dim=2).all(dim=0)
    return valid


def check_whole(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number that is not below the least one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"expected {name} as a whole number, {least} or more; received {value!r}")
    return value


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


def _initial_time(initial_time: Any, grid: Tensor) -> Tensor:
    if initial_time is None:
        return grid[:, 0]
    number = isinstance(initial_time, int | float)
    if number:
        value = torch.tensor(float(initial_time), dtype=grid.dtype)
    else:
        value = floating("initial_time", initial_time)
    count = grid.shape[0]
    if value.ndim > 1 or (value.ndim == 1 and value.shape[0] != count):
        raise UsageError(
            f"expected initial_time as a number or of shape ({count},); "
            f"received {tuple(value.shape)}"
        )
    start = value.to(dtype=grid.dtype, device=grid.device).expand(count)
    # The negated comparison also catches NaN.
    late = ~(start <= grid[:, 0]) | start.isinf()
    if bool(late.any()):
        index = int(late.nonzero()[0])
        raise UsageError(
            f"initial_time should not come after the first sample; trajectory {index} has "
            f"initial_time {start[index].item():g} and first sample {grid[index, 0].item():g}"
        )
    return start


def _absolute_tolerance(value: float | None, initial: Tensor) -> Tensor:
    """Return (S, N); zero where it is to follow the states."""
    if value is not None and not (_is_number(value) and 0.0 < value < math.inf):
        raise UsageError(
            "expected atol above 0, in the states' units, or None for a share of each state's "
            f"size; received {value!r}"
        )
    return torch.full_like(initial.detach().T, 0.0 if value is None else float(value))


def _relative_tolerance(value: float, like: Tensor) -> float:
    if not (_is_number(value) and 0.0 < value < 1.0):
        raise UsageError(f"expected rtol between 0 and 1, received {value!r}")
    # With a tolerance near the unit roundoff, rounding errors alone exceed it: the error estimate
    # no longer decreases with the step size, and every step would be rejected.
    return max(float(value), 100.0 * torch.finfo(like.dtype).eps)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.floating) and not isinstance(value, bool)


def _check_supports(problem: Problem) -> None:
    parameters = problem.system.parameters
    for values, parameter in zip(problem.parameters, parameters, strict=True):
        # Parameters that are not finite are left to the status INVALID of their trajectory.
        outside = values.isfinite() & ~contains(values, parameter.support)
        if bool(outside.any()):
            index = int(outside.nonzero()[0])
            raise UsageError(
                f"parameter {parameter.name!r} of trajectory {index} is "
                f"{values[index].item():g} {parameter.unit}, outside its support "
                f"({describe(parameter.support)})"
            )
