"""Adaptive integration by compiled code: the algorithm of `adaptive`, vectorized over lanes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_int32

import torch
from torch import Tensor

from warp_phys.systems.compiling.compiler import (
    CompiledLibrary,
    CompileError,
    compile_library,
    compiler,
)
from warp_phys.systems.compiling.stack import LARGEST_STACK, USUAL_STACK, call_with_stack
from warp_phys.systems.compiling.traced import translated, untranslated
from warp_phys.systems.dynamics.problem import Problem, Solution
from warp_phys.systems.dynamics.stepping.methods import STEPPERS
from warp_phys.systems.dynamics.stepping.source import flow_source, stack_needed
from warp_phys.systems.dynamics.stepping.step_control import (
    ALLOWANCE,
    GROW,
    SAFETY,
    SHRINK,
    STIFF_AFTER,
    STIFF_COUNT,
    with_local_tolerances,
)
from warp_phys.systems.dynamics.stepping.structures import address, doubles, integers, pointers


class _Problem(Structure):
    _fields_ = integers("n", "n_times", "time_stride", "n_stops") + pointers(
        "times",
        "counts",
        "start",
        "initial",
        "parameters",
        "floor",
        "stops",
        "jumps",
        "origin",
        "first",
        "slope",
    )


class _StepControl(Structure):
    _fields_ = doubles("rtol", "share", "allowance", "safety", "shrink", "grow") + integers(
        "max_steps", "stiff_after", "stiff_count", "relative"
    )


class _Results(Structure):
    _fields_ = pointers("states", "slopes", "error", "status")


def flow_library(
    problem: Problem, method: str, directions: Sequence[int] = ()
) -> CompiledLibrary | None:
    """Return the compiled flow of a problem's system, None if it cannot be compiled.

    It cannot without a compiler, for a system that cannot be traced or has about a thousand states,
    and for tensors other than float64 in main memory.

    Args:
        problem: The problem; only its system, sizes, dtype and device matter.
        method: A key of `STEPPERS`.
        directions: Directions of the forward sensitivities, see `flow_source`.
    """
    if problem.initial.dtype != torch.float64 or problem.initial.device.type != "cpu":
        return None
    if compiler() is None or stack_needed(problem.system, len(directions)) > LARGEST_STACK:
        return None
    graph = translated(problem.system)
    if graph is None:
        return None
    try:
        return compile_library(flow_source(graph, method, directions))
    except CompileError as error:
        warnings.warn(f"integrating without compiled code, which is slower: {error}", stacklevel=2)
        return None


def why_not_compiled(problem: Problem) -> str:
    """Return why a system has no compiled flow."""
    if problem.initial.dtype != torch.float64 or problem.initial.device.type != "cpu":
        return "that is for float64 in main memory"
    if compiler() is None:
        return "there is no C++ compiler here (c++, g++, clang++ or $CXX)"
    reason = untranslated(problem.system)
    return f"its functions are not plain arithmetic: {reason}" if reason else "it is too large"


@torch.no_grad()
def solve_compiled(
    problem: Problem,
    method: str,
    library: CompiledLibrary,
    *,
    slopes: Tensor | None = None,
) -> Solution:
    """Integrate a problem by a compiled flow; see `solve_adaptive` for the result.

    Args:
        problem: The initial-value problems of N trajectories.
        method: A key of `STEPPERS`.
        library: The library that `flow_library` returned for both.
        slopes: Receives the derivatives (N, T, D, S) along the library's D directions.
    """
    n_trajectories, n_times = problem.times.shape
    n_states = problem.initial.shape[0]
    states = problem.initial.new_full((n_trajectories, n_times, n_states), torch.nan)
    error = problem.initial.new_empty(n_trajectories)
    status = torch.empty(n_trajectories, dtype=torch.int64)
    data, kept = _arguments(problem)
    local = with_local_tolerances(problem, method)
    options = _StepControl(
        local.rtol,
        STEPPERS[method].share * problem.rtol,
        ALLOWANCE,
        SAFETY,
        SHRINK,
        GROW,
        problem.max_steps,
        STIFF_AFTER,
        STIFF_COUNT,
        int(problem.relative),
    )
    results = _Results(*map(address, (states, slopes, error, status)))
    function = library.handle.flow
    function.restype = None
    function.argtypes = [*map(POINTER, (_Problem, _StepControl, _Results)), c_int32]
    n_directions = 0 if slopes is None else slopes.shape[2]
    stack = stack_needed(problem.system, n_directions)
    threads = torch.get_num_threads() if stack <= USUAL_STACK else 1
    call_with_stack(stack, function, data, options, results, threads)
    # The tensors must outlive the call, which has only their addresses.
    del kept
    return Solution(states, error, status, "compiled", library.seconds)


def _arguments(problem: Problem) -> tuple[_Problem, list[Tensor | None]]:
    """Return the arguments of the library, and the tensors that its pointers refer to."""
    n_trajectories, n_times = problem.times.shape
    # A grid shared by all trajectories is one row in memory; the library steps over it with stride
    # 0.
    shared = problem.times.stride(0) == 0
    times = problem.times[:1].contiguous() if shared else problem.times.contiguous()
    schedule = problem.schedule
    outside: Sequence[Tensor | None] = (None,) * 5
    if schedule is not None:
        outside = (
            schedule.stops,
            schedule.jumps,
            schedule.origin,
            schedule.first,
            schedule.slope,
        )
    tensors = (
        times,
        problem.counts,
        problem.start,
        problem.initial,
        problem.parameters,
        problem.atol / problem.rtol,
        *outside,
    )
    kept = [None if tensor is None else tensor.detach().contiguous() for tensor in tensors]
    n_stops = 0 if schedule is None else schedule.stops.shape[1]
    data = _Problem(n_trajectories, n_times, 0 if shared else n_times, n_stops, *map(address, kept))
    return data, kept
