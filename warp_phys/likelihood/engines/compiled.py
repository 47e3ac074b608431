"""The compiled engine: the system's own code in C++, several trajectories to a vector."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_double, c_int32, c_int64, c_void_p
from functools import lru_cache
from importlib.resources import files

import torch
from torch import Tensor

from warp_phys.likelihood.engines.engine import Sums
from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.compiling.compiler import (
    CompiledLibrary,
    CompileError,
    compile_library,
    compiler,
)
from warp_phys.systems.compiling.cpp import PRELUDE, system_source
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.dynamics.stepping.tableaus import RK45_TABLEAU

_LANES = 8


_DATA = ("times", "start", "observed", "weights", "inputs", "jumps")


class _Trajectories(Structure):
    _fields_ = [
        ("n_times", c_int64),
        ("time_stride", c_int64),
        *((name, c_void_p) for name in _DATA),
    ]


class _Lanes(Structure):
    _fields_ = [
        (name, c_void_p)
        for name in (
            "row",
            "limit",
            "parameters",
            "initial",
            "huber",
            "plan",
            "hessian",
            "gradient",
            "squares",
            "counted",
            "predicted",
            "status",
            "steps",
        )
    ]


class _Options(Structure):
    _fields_ = [("rtol", c_double), ("max_steps", c_int64), ("logarithmic", c_int32)]


def library_of(problem: FitProblem) -> CompiledLibrary | None:
    """Return the compiled kernel of a problem's system and unknowns, or None without one."""
    if compiler() is None:
        return None
    graph = translated(problem.system)
    if graph is None:
        return None
    code = _source(
        system_source(graph),
        problem.unknowns.directions(),
        problem.seen,
        [entry.between == "held" for entry in problem.system.inputs],
    )
    try:
        return compile_library(code)
    except CompileError as error:
        warnings.warn(f"fitting without compiled code, which is slower: {error}", stacklevel=2)
        return None


def _source(code: str, directions: Sequence[int], seen: Sequence[int], held: Sequence[bool]) -> str:
    constants = [
        f"static constexpr int N_DIRECTIONS = {len(directions)};",
        f"static constexpr int DIRECTION[] = {{{_listed(directions or (0,))}}};",
        f"static constexpr int N_SEEN = {len(seen)};",
        f"static constexpr int SEEN[] = {{{_listed(seen)}}};",
        f"static constexpr bool HELD[] = {{{_listed([int(one) for one in held] or (0,))}}};",
        f"static constexpr bool ANY_HELD = {int(any(held))};",
    ]
    head = f"#include <cmath>\nstatic constexpr int W = {_LANES};"
    return "\n".join([head, PRELUDE, code, *constants, _method(), _kernel()])


def _method() -> str:
    """Return the Runge-Kutta pair as constants; the step's end is its last stage."""
    tableau = RK45_TABLEAU
    size = len(tableau.weights)
    rows = [(), *tableau.stages]
    padded = [[*row, *[0.0] * (size - len(row))][:size] for row in rows]
    table = ", ".join(f"{{{_listed(row)}}}" for row in padded)
    return "\n".join(
        [
            f"static constexpr int N_STAGES = {size};",
            f"static constexpr double STAGE_A[{size}][{size}] = {{{table}}};",
            f"static constexpr double STAGE_C[{size}] = {{{_listed((0.0, *tableau.nodes))}}};",
            f"static constexpr double WEIGHTS[{size}] = {{{_listed(tableau.weights)}}};",
            f"static constexpr double ERRORS[{size + 1}] = {{{_listed(tableau.errors[0])}}};",
        ]
    )


def _listed(values: Sequence[float]) -> str:
    return ", ".join(repr(value) for value in values)


@lru_cache(maxsize=1)
def _kernel() -> str:
    folder = files(__package__)
    names = ("steps.cpp", "residuals.cpp", "records.cpp")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


class CompiledEngine:
    """See `Engine`; the plan of steps of every lane is kept between calls."""

    def __init__(
        self, problem: FitProblem, rows: Tensor, limit: Tensor, library: CompiledLibrary
    ) -> None:
        self.function = library.handle.fit_evaluate
        self.function.restype = None
        self.function.argtypes = [
            c_int64,
            c_void_p,
            POINTER(_Trajectories),
            POINTER(_Lanes),
            POINTER(_Options),
            c_int32,
            c_int32,
        ]
        records = problem.records
        self.rows = rows.contiguous()
        self.limit = limit.contiguous()
        self.times = records.times.contiguous()
        self.start = problem.start.contiguous()
        self.observed = records.observed.contiguous()
        self.weights = None if problem.weights is None else problem.weights.contiguous()
        self.inputs = records.inputs.contiguous() if problem.system.inputs else None
        self.jumps = None if problem.jumps is None else problem.jumps.contiguous()
        self.plan = torch.ones(len(rows), self.times.shape[1], dtype=torch.int32)
        self.steps = torch.zeros(len(rows), dtype=torch.int32)
        self.options = _Options(problem.rtol, problem.max_steps, int(problem.logarithmic))

    def evaluate(
        self,
        chosen: Tensor,
        parameters: Tensor,
        initial: Tensor,
        sums: Sums,
        *,
        sensitivities: bool = True,
        huber: Tensor | None = None,
        predicted: Tensor | None = None,
    ) -> None:
        """See `Engine.evaluate`."""
        # Lanes of a vector go through the steps together: those with as many side by side.
        chosen = chosen[self.steps[chosen].argsort(stable=True)]
        length = self.times.shape[1]
        data = _Trajectories(
            length,
            length,
            *(_pointer(getattr(self, name)) for name in _DATA),
        )
        arrays = (
            self.rows,
            self.limit,
            parameters.contiguous(),
            initial.contiguous(),
            None if huber is None else huber.contiguous(),
            self.plan,
            sums.hessian,
            sums.gradient,
            sums.squares,
            sums.counted,
            predicted,
            sums.status,
            self.steps,
        )
        lanes = _Lanes(*map(_pointer, arrays))
        self.function(
            len(chosen),
            _pointer(chosen),
            ctypes.byref(data),
            ctypes.byref(lanes),
            ctypes.byref(self.options),
            int(sensitivities),
            torch.get_num_threads(),
        )


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
