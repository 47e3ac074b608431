"""The stopping rules of a minimization, and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

from torch import Tensor


def _nobody(finished: int) -> None:
    """Report to nobody."""


class Outcome(IntEnum):
    """How the minimization of one group ended."""

    CONVERGED = 0
    RUNNING = 1
    DIVERGED = 2
    STALLED = 3
    OUT_OF_TIME = 4
    OUT_OF_ITERATIONS = 5
    EVALUATED = 6
    SURPASSED = 7


@dataclass(frozen=True)
class Options:
    """When a minimization stops.

    Attributes:
        tolerance: Relative step at which a fit has converged.
        max_iterations: The largest number of steps that are tried.
        out_of_time: Returns whether the time is up; called before every iteration.
        report: Called with how many groups have finished since the last call.
        near: Root mean square change of a prediction, in noise levels, at which a fit has
            converged; None for the tolerance.
    """

    tolerance: float
    max_iterations: int
    out_of_time: Callable[[], bool] = lambda: False
    report: Callable[[int], object] = _nobody
    near: float | None = None

    def quiet(self) -> Options:
        """Return the same options without reports: for work within a fit that is not finished."""
        return replace(self, report=_nobody)


@dataclass(frozen=True)
class Optimum:
    """The result of a minimization.

    Attributes:
        z: (L, D), coordinates.
        objective: (G,), negative log likelihood up to a constant.
        outcome: (G,), values of `Outcome`.
        iterations: (G,).
        frozen: (L, D), coordinates that reached the end of their support.
        excluded: (L,), lanes of shared groups that could not be integrated and were left out.
    """

    z: Tensor
    objective: Tensor
    outcome: Tensor
    iterations: Tensor
    frozen: Tensor
    excluded: Tensor
