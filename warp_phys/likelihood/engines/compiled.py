"""The compiled engine: the system's own code in C++, with SIMD over several trajectories."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from ctypes import POINTER, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from weakref import finalize

import torch
from torch import Tensor

from warp_phys.likelihood.engines.engine import Evaluation
from warp_phys.likelihood.engines.noise_source import terms_source
from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.compiling.compiler import (
    CompiledLibrary,
    CompileError,
    compile_library,
    compiler,
)
from warp_phys.systems.compiling.recording import TracingError
from warp_phys.systems.compiling.stack import LARGEST_STACK, USUAL_STACK, call_with_stack
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.dynamics.problem import Status
from warp_phys.systems.dynamics.stepping.source import constants, planned_source, stack_needed
from warp_phys.systems.dynamics.stepping.structures import (
    PlanControl,
    Route,
    Samples,
    address,
    pointers,
)

# In the order of the fields of `_Trajectories`: attributes of the engine that it points to.
_DATA = ("times", "start", "inputs", "jumps", "observed", "weights", "censored")


# The status by which explicit steps give a lane up, see `lanes.cpp`.
_STIFF = 3


# Layouts of the C++ structures of the same names in `residuals.cpp`: arrays of pointers.
class _Trajectories(Samples):
    _fields_ = pointers("observed", "weights", "censored")


class _Lanes(Route):
    _fields_ = pointers(
        "parameters",
        "initial",
        "own",
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
        method: Name of the step method, "rk45" or "rodas5p".
    """
    if compiler() is None:
        return None
    graph = translated(problem.system)
    if graph is None:
        return None
    if stack_needed(problem.system, len(problem.unknowns.directions())) > LARGEST_STACK:
        return None
    try:
        noise = terms_source(problem.terms)
    except TracingError:
        return None
    held = [entry.between == "held" for entry in problem.system.inputs]
    # The system's functions are printed into the source, so that the compiler inlines them into the
    # steps; one library for each system, choice of unknowns, outputs and noise.
    code = "\n".join(
        [
            planned_source(graph, method, problem.unknowns.flow_directions(), held),
            f"static constexpr int N_SEEN = {len(problem.seen)};",
            constants("int SEEN", problem.seen),
            *_noise_layout(problem),
            noise,
            _kernel(),
        ]
    )
    try:
        return compile_library(code)
    except CompileError as error:
        warnings.warn(f"fitting without compiled code, which is slower: {error}", stacklevel=2)
        return None


def _noise_layout(problem: FitProblem) -> list[str]:
    """Return the constants that place unknown parameters of the noise, see `residuals.cpp`."""
    unknowns, own = problem.unknowns, problem.own
    first, directions = unknowns.of_system, unknowns.directions()
    columns = [()] * len(problem.seen) if own is None else list(own.columns)
    most = max(map(len, columns))
    # An output with fewer parameters than another repeats any of them, which it does not read.
    listed = [(*(c - first for c in one), *(0,) * (most - len(one))) for one in columns]
    placed = [one.index(d) if d in one else -1 for one in columns for d in directions]
    count = iter(range(len(directions)))
    flow = [next(count) if d < first else -1 for d in directions]
    return [
        f"static constexpr int N_OWN = {len({c for one in columns for c in one})};",
        f"static constexpr int MOST_OWN = {most}, N_ALL = {len(directions)};",
        f"static constexpr bool CENSORED = {int(problem.records.censored is not None)};",
        constants("int N_OF", [len(one) for one in columns]),
        constants("int OWN", [place for one in listed for place in one]),
        constants("int FLOW", flow),
        constants("int OWN_OF", placed),
    ]


@lru_cache(maxsize=1)
def _kernel() -> str:
    folder = files(__package__)
    names = ("residuals.cpp", "records.cpp")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


@dataclass(frozen=True)
class Libraries:
    """The kernels of a problem.

    Attributes:
        explicit: The kernel with explicit steps.
        implicit: Returns that with implicit steps, for lanes that are stiff, or None without one.
            It is compiled when the first lane needs it.
    """

    explicit: CompiledLibrary
    implicit: Callable[[], CompiledLibrary | None]


def libraries_of(problem: FitProblem) -> Libraries | None:
    """Return the compiled kernels of a problem, or None without them."""
    explicit = library_of(problem)
    if explicit is None:
        return None
    return Libraries(explicit, lru_cache(maxsize=1)(lambda: library_of(problem, "rodas5p")))


class CompiledEngine:
    """See `Engine`; the steps of every lane are kept between calls.

    They change only where the error demands it. Between such changes, predictions are smooth
    functions of the unknowns, as the minimizer requires. A lane that proves stiff continues with
    implicit steps.
    """

    def __init__(
        self, problem: FitProblem, rows: Tensor, limit: Tensor, libraries: Libraries
    ) -> None:
        records = problem.records
        self.problem, self.libraries = problem, libraries
        self.rows = rows.contiguous()
        self.limit = limit.contiguous()
        self.times = records.times.contiguous()
        self.start = problem.start.contiguous()
        self.observed = records.observed.contiguous()
        self.weights = None if problem.weights is None else problem.weights.contiguous()
        self.censored = None if records.censored is None else records.censored.contiguous()
        self.inputs = records.inputs.contiguous() if problem.system.inputs else None
        self.jumps = None if problem.jumps is None else problem.jumps.contiguous()
        self.steps = torch.zeros(len(rows), dtype=torch.int32)
        # The largest values of the states in the last call; negative where there was none.
        self.sizes = torch.full((len(rows), len(problem.system.states)), -1.0, dtype=torch.float64)
        self.explicit = _Kernel(self, libraries.explicit)
        self.implicit: _Kernel | None = None
        self.stiff = torch.zeros(len(rows), dtype=torch.bool)

    def evaluate(self, wanted: Evaluation) -> None:
        """See `Engine.evaluate`."""
        # The lanes of a SIMD vector step together, and a vector takes as long as its slowest lane:
        # sorting by the number of steps puts lanes of equal length into one vector.
        chosen = wanted.chosen[self.steps[wanted.chosen].argsort(stable=True)]
        status, stiff = wanted.sums.status, chosen[:0]
        if self.implicit is not None:
            mask = self.stiff[chosen]
            chosen, stiff = chosen[~mask], chosen[mask]
        self.explicit.evaluate(wanted, chosen)
        ended = status[chosen]
        found = chosen[(ended == int(Status.TOO_MANY_STEPS)) | (ended == _STIFF)]
        later = torch.cat([stiff, found]) if stiff.numel() else found
        if not later.numel():
            return
        if self.implicit is None:
            library = self.libraries.implicit()
            if library is None:
                status[found] = int(Status.TOO_MANY_STEPS)
                return
            self.implicit = _Kernel(self, library)
        self.stiff[found] = True
        self.implicit.evaluate(wanted, later)


class _Kernel:
    """Calls a library for lanes of an engine, with steps of its own."""

    def __init__(self, engine: CompiledEngine, library: CompiledLibrary) -> None:
        self.engine = engine
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
        problem, shape = engine.problem, (len(engine.rows), engine.times.shape[1])
        self.stack = stack_needed(problem.system, len(problem.unknowns.directions()))
        # One step in every interval to begin with; the kernel raises it where the error demands it.
        self.plan = torch.ones(shape, dtype=torch.int32)
        self.ends = _new_ends(self, library, self.plan.numel())
        self.options = PlanControl(problem.rtol, problem.range, problem.max_steps)
        given = (address(getattr(engine, name)) for name in _DATA)
        self.data = _Trajectories(shape[1], shape[1], *given)

    def evaluate(self, wanted: Evaluation, chosen: Tensor) -> None:
        """Compute some lanes; those that cannot be done explicitly get the status `STIFF`."""
        if not chosen.numel():
            return
        engine = self.engine
        precision, sums = wanted.precision, wanted.sums
        size = engine.problem.unknowns.of_system
        given = (
            wanted.parameters[:, :size].contiguous(),
            wanted.initial.contiguous(),
            wanted.parameters[:, size:].contiguous(),
            None if precision is None else precision.contiguous(),
            sums.hessian,
            sums.gradient,
            sums.squares,
            sums.counted,
            wanted.predicted,
            wanted.jacobian,
            wanted.ending,
            sums.status,
            engine.steps,
        )
        limit = engine.limit if wanted.limit is None else wanted.limit.contiguous()
        lanes = _Lanes(
            *map(address, (engine.rows, limit, self.plan)),
            self.ends,
            address(engine.sizes),
            *map(address, given),
        )
        call_with_stack(
            self.stack,
            self.function,
            len(chosen),
            address(chosen),
            ctypes.byref(self.data),
            ctypes.byref(lanes),
            ctypes.byref(self.options),
            int(wanted.sensitivities),
            torch.get_num_threads() if self.stack <= USUAL_STACK else 1,
        )


def _new_ends(owner: _Kernel, library: CompiledLibrary, count: int) -> int:
    """Return the address of an empty table of graded steps, which lives as long as its owner."""
    create, delete = library.handle.ends_new, library.handle.ends_delete
    create.restype, create.argtypes = c_void_p, [c_int64]
    delete.restype, delete.argtypes = None, [c_void_p, c_int64]
    address_of_table: int = create(count)
    finalize(owner, delete, address_of_table, count)
    return address_of_table
