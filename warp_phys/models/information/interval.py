"""The flow of N trajectories from where they are to later samples, with its sensitivities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.engines.choose import EngineBuilder
from warp_phys.likelihood.engines.engine import Evaluation, Sums
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.unknown import Unknown
from warp_phys.likelihood.unknowns import Unknowns
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
        position: The position after it; states are NaN where the integration failed.
        transition: (N, S, F + S), derivatives of the states after it; NaN likewise.
        predicted: (N, O), the outputs after it; NaN likewise.
        jacobian: (N, O, F + S), their derivatives.
    """

    position: Position
    transition: Tensor
    predicted: Tensor
    jacobian: Tensor


class Intervals:
    """Moves trajectories from sample to sample; see `Moved`.

    Args:
        problem: Tells system, outputs and tolerance; its records may be empty.

    Attributes:
        free: (F,), positions of the free parameters among the system's parameters.
        places: (F,), and among the unknowns of the problem.
        entries: The free parameters, then all states.
        builder: Builds engines for problems from `continued`.
    """

    def __init__(self, problem: FitProblem) -> None:
        self.problem = replace(
            problem, system=_continued(problem.system), fine=None, jumps=None, weights=None
        )
        unknowns = list(enumerate(problem.unknowns.entries))
        entries = [(place, entry) for place, entry in unknowns if entry.kind == "parameter"]
        self.places = torch.tensor([place for place, _ in entries], dtype=torch.int64)
        self.free = torch.tensor([entry.index for _, entry in entries], dtype=torch.int64)
        # Derivatives by all states, known or not: they depend on what was unknown at the start.
        states = [
            Unknown("initial_state", state.name, state.unit, place, state.support, (1.0, 2.0))
            for place, state in enumerate(problem.system.states)
        ]
        self.entries = (*(entry for _, entry in entries), *states)
        self.builder = EngineBuilder(
            replace(self.problem, unknowns=replace(problem.unknowns, entries=self.entries))
        )

    def move(self, at: Position, parameters: Tensor, times: Tensor, inputs: Tensor) -> Moved:
        """Move N trajectories to later times (N,), with parameters (N, P) and inputs (N, I)."""
        count, states = at.states.shape
        problem = self.continued(at, parameters, times.unsqueeze(1), inputs.unsqueeze(1))
        every = torch.arange(count)
        outputs, directions = len(problem.records.outputs), len(self.entries)
        shape = (count, 2, outputs)
        sums = Sums.empty(count, outputs, directions)
        predicted = torch.full(shape, torch.nan, dtype=torch.float64)
        jacobian = torch.zeros(*shape, directions, dtype=torch.float64)
        ending = torch.full((count, 1 + directions, states), torch.nan, dtype=torch.float64)
        engine = self.builder.build(problem, every, torch.full((count,), 2))
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
        # Values are missing in these records, so that the status is that of the integration. Where
        # it failed, the engine wrote the states at the start of the interval.
        failed = sums.status != 0
        if failed.any():
            ending[failed] = torch.nan
        after = Position(times, ending[:, 0], inputs)
        return Moved(after, ending[:, 1:].mT, predicted[:, 1], jacobian[:, 1])

    def continued(
        self, at: Position, parameters: Tensor, times: Tensor, inputs: Tensor
    ) -> FitProblem:
        """Return a problem of records that continue from a position, which is their first sample.

        Args:
            at: Where N trajectories are.
            parameters: (N, P).
            times: (N, T), later times.
            inputs: (N, T, I), the inputs then.
        """
        records = self.problem.records
        count, samples = times.shape
        later = Records(
            # Values that are missing: predictions are written for all samples.
            observed=torch.full(
                (count, 1 + samples, len(records.outputs)), torch.nan, dtype=torch.float64
            ),
            times=torch.cat([at.time.unsqueeze(1), times], dim=1),
            inputs=torch.cat([at.inputs.unsqueeze(1), inputs], dim=1),
            outputs=records.outputs,
            labels=tuple(range(count)),
            own_grids=True,
        )
        unknowns = Unknowns(self.entries, parameters, at.states)
        every = torch.arange(count)
        return replace(self.problem, records=later, start=at.time, unknowns=unknowns, group=every)

    def by_coordinates(self, slopes: Tensor, states: Tensor) -> Tensor:
        """Return derivatives (N, F + S, D) of free parameters and states by coordinates.

        The chain rule multiplies derivatives (..., F + S) by free parameters and states by them.

        Args:
            slopes: (N, D), derivatives of the unknowns by their coordinates.
            states: (N, S, D), derivatives of the states.
        """
        free = len(self.places)
        parameters = slopes.new_zeros(len(slopes), free, slopes.shape[1])
        parameters[:, torch.arange(free), self.places] = slopes[:, self.places]
        return torch.cat([parameters, states], dim=1)


def _continued(system: System) -> System:
    """Return the system, without a formula for its initial state: it goes on from any state."""
    if not system.has_initial_state:
        return system
    kind = type(system)
    own = {"initial_state": Equations.initial_state, "__module__": kind.__module__}
    return type(f"{kind.__name__}Continued", (kind,), own)(**system.options)
