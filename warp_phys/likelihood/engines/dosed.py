"""Records whose doses have a lag time, a duration or a bioavailability among the parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.engines.engine import Engine, Evaluation
from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.forcing.dosing import with_dosing


def as_events(problem: FitProblem) -> tuple[FitProblem, Tensor] | None:
    """Return the problem in which such doses are events of the system, None where there are none.

    Returns:
        The problem, and the values (N, 2 M) of the parameters that its system has besides.
    """
    dosed = with_dosing(problem.system, problem.records.doses)
    if dosed is None:
        return None
    records = replace(problem.records, doses=dosed.plain)
    return replace(problem, system=dosed.system, records=records), dosed.columns


@dataclass(frozen=True)
class DosedEngine:
    """Evaluates lanes with times and amounts of doses as known parameters; see `Engine`.

    Attributes:
        inner: The engine of the problem from `as_events`.
        columns: (L, 2 M), the values of the parameters that it has besides.
    """

    inner: Engine
    columns: Tensor

    def evaluate(self, wanted: Evaluation) -> None:
        """See `Engine.evaluate`."""
        parameters = torch.cat([wanted.parameters, self.columns], dim=1)
        self.inner.evaluate(replace(wanted, parameters=parameters))
