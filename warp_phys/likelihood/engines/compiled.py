"""The compiled engine: the system's own code in C++, with SIMD over several trajectories."""

from __future__ import annotations

import ctypes
import warnings
from ctypes import POINTER, c_int32, c_int64, c_void_p
from functools import lru_cache
from importlib.resources import files

import torch
from torch import Tensor

from warp_phys.likelihood.engines.engine import Evaluation
from warp_phys.likelihood.engines.noise_source import noise_source
from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.compiling.compiler import (
    CompiledLibrary,
    CompileError,
    compile_library,
    compiler,
)
from warp_phys.systems.compiling.recording import TracingError
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.dynamics.stepping.source import constants, planned_source
from warp_phys.systems.dynamics.stepping.structures import (
    PlanControl,
    Route,
    Samples,
    address,
    pointers,
)

# In the order of the fields of `_Trajectories`: attributes of the engine that it points to.
_DATA = ("times", "start", "inputs", "jumps", "observed", "weights")


# Layouts of the C++ structures of the same names in `residuals.cpp`: arrays of pointers.
class _Trajectories(Samples):
    _fields_ = pointers("observed", "weights")


class _Lanes(Route):
    _fields_ = pointers(
        "parameters",
        "initial",
        "precision",
        "hessian",
        "gradient",
        "squares",
        "counted",
        "predicted",
        "jacobian",
        "ending",
        "status",
        "steps",
    )


def library_of(problem: FitProblem, method: str = "rk45") -> CompiledLibrary | None:
    """Return the compiled kernel of a problem's system and unknowns, or None without one.

    Args:
        problem: Records and unknowns.
        method: Name of the step method. "rodas5p" has no sensitivities: only without unknowns.
    """
    if compiler() is None:
        return None
    graph = translated(problem.system)
    if graph is None:
        return None
    try:
        noise = noise_source(problem.distribution)
    except TracingError:
        return None
    held = [entry.between == "held" for entry in problem.system.inputs]
    # The system's functions are printed into the source, so that the compiler inlines them into the
    # steps; one library for each system, choice of unknowns, outputs and noise.
    code = "\n".join(
        [
            planned_source(graph, method, problem.unknowns.directions(), held),
            f"static constexpr int N_SEEN = {len(problem.seen)};",
            constants("int SEEN", problem.seen),
            noise,
            _kernel(),
        ]
    )
    try:
        return compile_library(code)
    except CompileError as error:
        warnings.warn(f"fitting without compiled code, which is slower: {error}", stacklevel=2)
        return None


@lru_cache(maxsize=1)
def _kernel() -> str:
    folder = files(__package__)
    names = ("residuals.cpp", "records.cpp")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


class CompiledEngine:
    """See `Engine`; the plan of steps of every lane is kept between calls.

    A plan is the number of equal integration steps between each two samples, which changes only
    where the error demands it. Between such changes, predictions are smooth functions of the
    unknowns, as the minimizer requires.
    """

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
            POINTER(PlanControl),
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
        # One step in every interval to begin with; the kernel raises it where the error demands it.
        self.plan = torch.ones(len(rows), self.times.shape[1], dtype=torch.int32)
        self.steps = torch.zeros(len(rows), dtype=torch.int32)
        self.options = PlanControl(problem.rtol, problem.max_steps)

    def evaluate(self, wanted: Evaluation) -> None:
        """See `Engine.evaluate`."""
        # The lanes of a SIMD vector step together, and a vector takes as long as its slowest lane:
        # sorting by the number of steps puts lanes of equal length into one vector.
        chosen = wanted.chosen[self.steps[wanted.chosen].argsort(stable=True)]
        precision, sums = wanted.precision, wanted.sums
        length = self.times.shape[1]
        data = _Trajectories(
            length,
            length,
            *(address(getattr(self, name)) for name in _DATA),
        )
        arrays = (
            self.rows,
            self.limit if wanted.limit is None else wanted.limit.contiguous(),
            self.plan,
            wanted.parameters.contiguous(),
            wanted.initial.contiguous(),
            None if precision is None else precision.contiguous(),
            sums.hessian,
            sums.gradient,
            sums.squares,
            sums.counted,
            wanted.predicted,
            wanted.jacobian,
            wanted.ending,
            sums.status,
            self.steps,
        )
        lanes = _Lanes(*map(address, arrays))
        self.function(
            len(chosen),
            address(chosen),
            ctypes.byref(data),
            ctypes.byref(lanes),
            ctypes.byref(self.options),
            int(wanted.sensitivities),
            torch.get_num_threads(),
        )
