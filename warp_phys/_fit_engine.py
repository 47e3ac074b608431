"""The engine of a fit: the fastest there is for a system on this machine.

Where there is a C++ compiler the system's own code is translated, differentiated and compiled with
`_kernel_steps.cpp` and `_kernel_lanes.cpp` (about a second, once for each system and choice of
unknowns, kept on disk); elsewhere, or where a system cannot be translated, NumPy or PyTorch compute
the same, more slowly.
"""

from __future__ import annotations

from torch import Tensor

from warp_phys._fit_compiled import CompiledEngine, library_of
from warp_phys._fit_problem import FitProblem
from warp_phys._fit_torch import TorchEngine
from warp_phys._sums import Engine
from warp_phys.systems._translation import translated


def build_engine(problem: FitProblem, rows: Tensor, limit: Tensor) -> Engine:
    """Return the fastest engine there is for lanes of a problem.

    Args:
        problem: Records and unknowns.
        rows: (L,) the trajectory of each lane.
        limit: (L,) how many samples of it the lane uses.
    """
    library = library_of(problem)
    if library is None:
        return TorchEngine(problem, rows, limit)
    return CompiledEngine(problem, rows, limit, library)


def engine_name(problem: FitProblem) -> str:
    """Return what evaluates a problem: "compiled" code, else "numpy", else "torch"."""
    if library_of(problem) is not None:
        return "compiled"
    return "torch" if translated(problem.system) is None else "numpy"
