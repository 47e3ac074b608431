"""Choice of the engine of a fit: the fastest one for a system on this machine.

Where there is a C++ compiler, the system's own code is translated, differentiated and compiled
with the stepping code, `residuals.cpp` and `records.cpp` (about a second, once for each system and
choice of unknowns, and cached on disk). Elsewhere, or where a system cannot be translated, NumPy or
PyTorch compute the same, more slowly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from warp_phys.likelihood.engines.compiled import CompiledEngine, libraries_of, library_of
from warp_phys.likelihood.engines.dosed import as_events
from warp_phys.likelihood.engines.engine import Engine, Evaluation
from warp_phys.likelihood.engines.increments import IncrementEngine
from warp_phys.likelihood.engines.torch_engine import TorchEngine
from warp_phys.likelihood.grid import FineGrid
from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.compiling.compiler import compiler
from warp_phys.systems.compiling.traced import translated, untranslated
from warp_phys.systems.dynamics.refusals import moving_jump
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System


def build_engine(problem: FitProblem, rows: Tensor, limit: Tensor) -> Engine:
    """Return the fastest engine for lanes of a problem.

    Args:
        problem: Records and unknowns.
        rows: (L,) the trajectory of each lane.
        limit: (L,) how many samples of its record each lane uses.
    """
    dosed = as_events(problem)
    if dosed is not None:
        return dosed.engine(build_engine(dosed.twin, rows, limit), rows)
    fine = problem.fine
    if fine is not None and set(problem.seen) & set(problem.system.increments):
        silent = problem.on_fine_grid()
        nothing = torch.full_like(silent.records.observed, torch.nan)
        silent = replace(silent, records=replace(silent.records, observed=nothing))
        inner = build_engine(silent, rows, fine.limits(rows, limit))
        return IncrementEngine(inner, problem, fine, rows, limit)
    if fine is not None:
        # Grid times at which nothing was observed add nothing to the sums, so that only predictions
        # must be selected at the samples.
        inner = build_engine(problem.on_fine_grid(), rows, fine.limits(rows, limit))
        return _FineEngine(inner, fine, rows)
    return EngineBuilder(problem).build(problem, rows, limit)


class EngineBuilder:
    """Builds engines for problems that differ in their records alone.

    Args:
        problem: One of them; without a fine grid.

    Raises:
        UsageError: The system jumps at times that are to be found, and cannot be compiled.
    """

    def __init__(self, problem: FitProblem) -> None:
        # Looking up the library takes longer than the integration of a few intervals.
        self.libraries = libraries_of(problem)
        if self.libraries is None:
            _check_smooth(problem.system)

    def build(self, problem: FitProblem, rows: Tensor, limit: Tensor) -> Engine:
        """Return an engine; see `build_engine`."""
        if self.libraries is None:
            return TorchEngine(problem, rows, limit)
        return CompiledEngine(problem, rows, limit, self.libraries)


class _FineEngine:
    """Integrates on the fine grid of a problem and predicts at its samples; see `Engine`."""

    def __init__(self, inner: Engine, grid: FineGrid, rows: Tensor) -> None:
        self.inner, self.grid, self.rows = inner, grid, rows

    def evaluate(self, wanted: Evaluation) -> None:
        """See `Engine.evaluate`."""
        inner: dict[str, Any] = {
            name: self._on_grid(given)
            for name in ("predicted", "jacobian")
            if (given := getattr(wanted, name)) is not None
        }
        limit = None if wanted.limit is None else self.grid.limits(self.rows, wanted.limit)
        self.inner.evaluate(replace(wanted, limit=limit, **inner))
        for name, passed in inner.items():
            given = getattr(wanted, name)
            kept = given[wanted.chosen]
            found = self.grid.at_samples(self.rows, passed.flatten(2))[wanted.chosen].view_as(kept)
            # Samples that the integration did not reach keep what stood there, as `Evaluation`
            # demands.
            given[wanted.chosen] = torch.where(found.isfinite(), found, kept)

    def _on_grid(self, given: Tensor) -> Tensor:
        """Return an empty array (L, F, ...) for values at all times of the grid."""
        shape = (len(self.rows), self.grid.records.times.shape[1], *given.shape[2:])
        return torch.full(shape, torch.nan, dtype=given.dtype)


def engine_name(problem: FitProblem) -> str:
    """Return what evaluates a problem: "compiled" code, else "numpy", else "torch"."""
    dosed = as_events(problem)
    problem = problem if dosed is None else dosed.twin
    if library_of(problem) is not None:
        return "compiled"
    return "torch" if translated(problem.system) is None else "numpy"


def _check_smooth(system: System) -> None:
    """Refuse what steps cannot follow that are not compiled: derivatives would lack its motion."""
    jump = moving_jump(system, "yp")
    if not system.events and not jump:
        return
    what = "has events" if system.events else f"jumps where {jump} changes"
    reason = "there is no C++ compiler here (c++, g++, clang++ or $CXX)"
    if compiler() is not None:
        reason = f"its functions are not plain arithmetic: {untranslated(system)}"
    raise UsageError(
        f"{system.name} {what}, by itself or by the lag time of a dose; fits and estimates need "
        f"compiled code then, but {reason}"
    )
