"""Doses and kicks: states that jump at known times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dose:
    """At `time` the state `state` rises by `amount`, at once.

    A sample at the very time of a dose shows the state after it, and so does the initial time.

    Attributes:
        state: Name of a state of the system.
        amount: In the state's unit, negative to take away: a number, or one for each of N
            trajectories (`simulate` also takes ranges and distributions).
        time: When, in the system's time unit: a number, or one for each of N trajectories, NaN
            where a trajectory has no such dose.

    Example:
        >>> Dose("gut", 320.0, time=24.0)
        Dose(state='gut', amount=320.0, time=24.0)
    """

    state: str
    amount: Any
    time: Any
