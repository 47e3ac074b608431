"""Records whose doses have a lag time, a duration or a bioavailability among the parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.engines.engine import Engine, Evaluation
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.unknowns import Unknowns
from warp_phys.systems.forcing.dosing import with_dosing


def as_events(problem: FitProblem) -> DosedProblem | None:
    """Return the problem in which such doses are events, None where there are none."""
    dosed = with_dosing(problem.system, problem.records.doses)
    if dosed is None:
        return None
    own, more = problem.own, dosed.columns.shape[1]
    if own is not None:
        columns = tuple(tuple(column + more for column in one) for one in own.columns)
        own = replace(own, columns=columns)
    twin = replace(
        problem,
        system=dosed.system,
        records=replace(problem.records, doses=dosed.plain),
        unknowns=_with_columns(problem.unknowns, dosed.columns),
        own=own,
    )
    return DosedProblem(twin, dosed.columns, problem.unknowns.of_system)


def _with_columns(unknowns: Unknowns, columns: Tensor) -> Unknowns:
    """Return unknowns with further parameters of the system, before those of the noise."""
    entries = [
        replace(entry, index=entry.index + columns.shape[1]) if entry.kind == "noise" else entry
        for entry in unknowns.entries
    ]
    parameters = _inserted(unknowns.parameters, columns, unknowns.of_system)
    return replace(unknowns, entries=tuple(entries), parameters=parameters)


def _inserted(parameters: Tensor, columns: Tensor, place: int) -> Tensor:
    return torch.cat([parameters[:, :place], columns, parameters[:, place:]], dim=1)


@dataclass(frozen=True)
class DosedProblem:
    """A problem in which doses are events of the system.

    Attributes:
        twin: The problem.
        columns: (N, 2 M), the values of the parameters that its system has besides.
        place: Where these stand in the table of parameters: behind those of the system proper, and
            before those of the noise.
    """

    twin: FitProblem
    columns: Tensor
    place: int

    def engine(self, inner: Engine, rows: Tensor) -> DosedEngine:
        """Return the engine of lanes of trajectories `rows` (L,), given that of the twin."""
        return DosedEngine(inner, self.columns[rows], self.place)


@dataclass(frozen=True)
class DosedEngine:
    """Evaluates lanes with times and amounts of doses as known parameters; see `Engine`.

    Attributes:
        inner: The engine of the twin.
        columns: (L, 2 M), see `DosedProblem`.
        place: Likewise.
    """

    inner: Engine
    columns: Tensor
    place: int

    def evaluate(self, wanted: Evaluation) -> None:
        """See `Engine.evaluate`."""
        parameters = _inserted(wanted.parameters, self.columns, self.place)
        self.inner.evaluate(replace(wanted, parameters=parameters))
