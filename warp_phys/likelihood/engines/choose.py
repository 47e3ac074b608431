"""The engine of a fit: the fastest there is for a system on this machine.

Where there is a C++ compiler the system's own code is translated, differentiated and compiled with
`steps.cpp` and `records.cpp` (about a second, once for each system and choice of
unknowns, kept on disk); elsewhere, or where a system cannot be translated, NumPy or PyTorch compute
the same, more slowly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.engines.compiled import CompiledEngine, library_of
from warp_phys.likelihood.engines.engine import Engine, Sums
from warp_phys.likelihood.engines.torch_engine import TorchEngine
from warp_phys.likelihood.grid import FineGrid
from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.compiling.traced import translated


def build_engine(problem: FitProblem, rows: Tensor, limit: Tensor) -> Engine:
    """Return the fastest engine there is for lanes of a problem.

    Args:
        problem: Records and unknowns.
        rows: (L,) the trajectory of each lane.
        limit: (L,) how many samples of it the lane uses.
    """
    if problem.fine is not None:
        inner = build_engine(problem.on_fine_grid(), rows, problem.fine.limits(rows, limit))
        return _FineEngine(inner, problem.fine, rows)
    library = library_of(problem)
    if library is None:
        return TorchEngine(problem, rows, limit)
    return CompiledEngine(problem, rows, limit, library)


class _FineEngine:
    """Passes the fine grid of a problem and gives predictions at its samples; see `Engine`."""

    def __init__(self, inner: Engine, grid: FineGrid, rows: Tensor) -> None:
        self.inner, self.grid, self.rows = inner, grid, rows

    def evaluate(
        self,
        chosen: Tensor,
        parameters: Tensor,
        initial: Tensor,
        sums: Sums,
        *,
        sensitivities: bool = True,
        precision: Tensor | None = None,
        predicted: Tensor | None = None,
    ) -> None:
        """See `Engine.evaluate`."""
        passed = None
        if predicted is not None:
            shape = (len(self.rows), *self.grid.records.observed.shape[1:])
            passed = torch.full(shape, torch.nan, dtype=predicted.dtype)
        self.inner.evaluate(
            chosen,
            parameters,
            initial,
            sums,
            sensitivities=sensitivities,
            precision=precision,
            predicted=passed,
        )
        if predicted is not None and passed is not None:
            found = self.grid.at_samples(self.rows, passed)[chosen]
            predicted[chosen] = torch.where(found.isfinite(), found, predicted[chosen])


def engine_name(problem: FitProblem) -> str:
    """Return what evaluates a problem: "compiled" code, else "numpy", else "torch"."""
    if library_of(problem) is not None:
        return "compiled"
    return "torch" if translated(problem.system) is None else "numpy"
