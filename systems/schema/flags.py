"""The integer codes and bits of data sets, and their meanings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class SimulationStatus(IntEnum):
    """How the simulation of one trajectory ended; all but NOT_POSITIVE are those of `integrate`.

    Attributes:
        CONVERGED: Every sample was reached within the tolerance.
        DIVERGED: The solution left the finite numbers, or the step size became negligible.
        TOO_MANY_STEPS: The step limit was reached, or the system turned out to be stiff.
        INVALID: An initial state, parameter or input is not a finite number.
        NOT_POSITIVE: A state or output that must be positive was computed as 0 or less.
        TOO_MANY_EVENTS: Events followed each other without end.
    """

    CONVERGED = 0
    DIVERGED = 1
    TOO_MANY_STEPS = 2
    INVALID = 3
    NOT_POSITIVE = 4
    TOO_MANY_EVENTS = 5


class FitStatus(IntEnum):
    """How the fit of one trajectory ended.

    Attributes:
        CONVERGED: At an optimum.
        ITERATION_LIMIT: Still moving after the iterations allowed.
        STALLED: No step lowers the objective, though it is not at an optimum.
        DIVERGED: The model could not be integrated along the record.
        TOO_FEW_VALUES: Fewer values than unknowns.
        INVALID_DATA: No values at all, values that the noise model rules out, such as those that
            are not positive under log-normal noise, or known values or inputs that are not
            finite (a known value that is NaN is estimated).
        OUT_OF_TIME: The time budget ended first.
        NO_STEADY_STATE: There is no stable steady state for the trajectory to start from.
        EVALUATED: Not fitted: the likelihood and its gradient were evaluated at the start alone.
    """

    CONVERGED = 0
    ITERATION_LIMIT = 1
    STALLED = 2
    DIVERGED = 3
    TOO_FEW_VALUES = 4
    INVALID_DATA = 5
    OUT_OF_TIME = 6
    NO_STEADY_STATE = 7
    EVALUATED = 8


@dataclass(frozen=True)
class Flags:
    """The meanings of an integer variable's values.

    Attributes:
        meanings: Code or bit -> meaning.
        bits: Whether they are bits, several of which may be set, instead of codes.
    """

    meanings: Mapping[int, str]
    bits: bool = False


def codes(members: type[IntEnum]) -> Flags:
    """Return the flags of an enumeration, with its names as meanings."""
    return Flags({int(member): member.name.lower().replace("_", " ") for member in members})


CENSORED = {0: "measured", 1: "below", 2: "above"}
"""Whether an observed value was measured, or is a limit."""

MISFIT = {
    1: "successive residuals are alike",
    2: "residuals are larger than the known noise",
    4: "the noise level of an output rests on few values",
    8: "a value is far from what the others predict",
}
"""How a fit's residuals differ from noise, by bit."""

SEARCH = {
    1: "only one of several starts reached the best optimum",
    2: "starts led to different optima",
}
"""Reasons to distrust the search for the best optimum, by bit."""

IDENTIFIABLE = {
    -1: "unknown as the fit has not converged",
    0: "not determined",
    1: "determined",
}
"""Whether the data determine a parameter."""

OUT_OF_RANGE = {
    1: "an observed value lies beyond those of the training data",
    2: "the record is longer than the training records",
    4: "a time step is outside those of the training data",
    8: "an estimate lies beyond the training range",
    16: "an estimate lies many standard deviations from its prior",
    32: "the residuals are not noise",
    64: "the model could not be integrated along the record",
}
"""How a record differs from the training data, or from the prior and the model, by bit."""

ESTIMATE_STATUS = {
    1: "the model could not be integrated to all samples",
    2: "another optimum is nearly as good",
    4: "the linearizations before and after disagree",
    8: "successive residuals are alike",
}
"""Reasons to distrust an estimate, by bit."""
