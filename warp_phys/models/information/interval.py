"""The flow of N trajectories over one interval between samples, with its sensitivities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.engines.engine import Evaluation, Sums
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.unknowns import Unknown, Unknowns
from warp_phys.models.information.rows import Rows
from warp_phys.records.records import Records
from warp_phys.systems.model.equations import Equations
from warp_phys.systems.model.system import System


@dataclass(frozen=True)
class Position(Rows):
    """Where N trajectories are.

    Attributes:
        time: (N,).
        states: (N, S).
        inputs: (N, I), the inputs at that time.
    """

    time: Tensor
    states: Tensor
    inputs: Tensor


@dataclass(frozen=True)
class Moved:
    """What an interval does; derivatives are by the free parameters, then by the states before.

    Attributes:
        position: The position after it.
        transition: (N, S, F + S), derivatives of the states after it.
        predicted: (N, O), the outputs after it.
        jacobian: (N, O, F + S), their derivatives.
        failed: (N,), whether the integration failed.
    """

    position: Position
    transition: Tensor
    predicted: Tensor
    jacobian: Tensor
    failed: Tensor


class Intervals:
    """Moves trajectories from sample to sample; see `Moved`.

    Args:
        problem: Tells system, outputs and tolerance; its records may be empty.
    """

    def __init__(self, problem: FitProblem) -> None:
        self.problem = replace(
            problem, system=_continued(problem.system), fine=None, jumps=None, weights=None
        )
        entries = [entry for entry in problem.unknowns.entries if entry.kind == "parameter"]
        self.free = torch.tensor([entry.index for entry in entries], dtype=torch.int64)
        # Derivatives by all states, known or not: they depend on what was unknown at the start.
        states = [
            Unknown("initial_state", state.name, state.unit, place, state.support, (1.0, 2.0))
            for place, state in enumerate(problem.system.states)
        ]
        self.entries = (*entries, *states)

    def move(self, at: Position, parameters: Tensor, times: Tensor, inputs: Tensor) -> Moved:
        """Move N trajectories to later times (N,), with parameters (N, P) and inputs (N, I)."""
        count, states = at.states.shape
        problem, every = self._interval(at, parameters, times, inputs), torch.arange(count)
        outputs, directions = len(problem.records.outputs), len(self.entries)
        shape = (count, 2, outputs)
        sums = Sums.empty(count, outputs, directions)
        predicted = torch.full(shape, torch.nan, dtype=torch.float64)
        jacobian = torch.zeros(*shape, directions, dtype=torch.float64)
        ending = torch.full((count, 1 + directions, states), torch.nan, dtype=torch.float64)
        engine = build_engine(problem, every, torch.full((count,), 2))
        engine.evaluate(
            Evaluation(
                every,
                parameters.contiguous(),
                at.states.contiguous(),
                sums,
                predicted=predicted,
                jacobian=jacobian,
                ending=ending,
            )
        )
        transition = ending[:, 1:].mT
        failed = (sums.status != 0) & ~transition.isfinite().all(dim=2).all(dim=1)
        after = Position(times, ending[:, 0], inputs)
        return Moved(after, transition, predicted[:, 1], jacobian[:, 1], failed)

    def _interval(
        self, at: Position, parameters: Tensor, times: Tensor, inputs: Tensor
    ) -> FitProblem:
        """Return a problem whose records have two samples: where they are, and the next one."""
        records = self.problem.records
        count, outputs = len(times), len(records.outputs)
        two = Records(
            # Values that are missing: predictions are written for all samples.
            observed=torch.full((count, 2, outputs), torch.nan, dtype=torch.float64),
            times=torch.stack([at.time, times], dim=1),
            inputs=torch.stack([at.inputs, inputs], dim=1),
            outputs=records.outputs,
            labels=tuple(range(count)),
            own_grids=True,
        )
        unknowns = Unknowns(self.entries, parameters, at.states)
        every = torch.arange(count)
        return replace(self.problem, records=two, start=at.time, unknowns=unknowns, group=every)


def _continued(system: System) -> System:
    """Return the system, without a formula for its initial state: it goes on from any state."""
    if not system.has_initial_state:
        return system
    kind = type(system)
    own = {"initial_state": Equations.initial_state, "__module__": kind.__module__}
    return type(f"{kind.__name__}Continued", (kind,), own)(**system.options)
