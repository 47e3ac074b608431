"""When a minimization stops, and how and where it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from torch import Tensor


class Outcome(IntEnum):
    """How the minimization of one group ended."""

    CONVERGED = 0
    RUNNING = 1
    DIVERGED = 2
    STALLED = 3
    OUT_OF_TIME = 4
    OUT_OF_ITERATIONS = 5


@dataclass(frozen=True)
class Options:
    """When to stop.

    Attributes:
        tolerance: Relative step at which a fit has converged.
        max_iterations: Steps tried at most.
        out_of_time: Says whether the time is up; asked before every iteration.
        report: Told how many groups have finished since the last call.
    """

    tolerance: float
    max_iterations: int
    out_of_time: Callable[[], bool] = lambda: False
    report: Callable[[int], None] = lambda _: None


@dataclass(frozen=True)
class Optimum:
    """Where the groups ended.

    Attributes:
        z: (L, D), coordinates.
        objective: (G,), negative log likelihood up to a constant.
        outcome: (G,), of `Outcome`.
        iterations: (G,).
        frozen: (L, D), coordinates that ran to the end of their support, or were held.
        excluded: (L,), lanes of shared groups that could not be integrated and were left out.
    """

    z: Tensor
    objective: Tensor
    outcome: Tensor
    iterations: Tensor
    frozen: Tensor
    excluded: Tensor
