"""Compartments whose doses arrive late, in part or over a while, with their closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from warp_phys.systems import Dose, Dosing, Parameter, State, System

DOSES = ((0.0, 100.0), (1.0, 50.0), (8.0, 120.0))
GIVEN = [Dose("amount", amount, time) for time, amount in DOSES]


class Infused(System):
    """One compartment, into which each dose is infused after a while."""

    time_unit = "h"
    states = (State("amount", "mg"),)
    parameters = (
        Parameter("rate", "1/h", support="positive", range=(0.05, 0.5)),
        Parameter("lag", "h", support="positive", range=(0.1, 2.0)),
        Parameter("duration", "h", support="positive", range=(0.5, 4.0)),
        Parameter("share", "1", support=(0.0, 1.0), range=(0.3, 0.9)),
    )
    default_initial_state = {"amount": 0.0}
    dosing = (Dosing("amount", lag="lag", duration="duration", bioavailability="share"),)

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any]:
        return (-p.rate * y[0],)


class Late(System):
    """One compartment, into which each dose is put at once after a while."""

    time_unit = "h"
    states = (State("amount", "mg"),)
    parameters = Infused.parameters[:2]
    default_initial_state = {"amount": 0.0}
    dosing = (Dosing("amount", lag="lag"),)

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any]:
        return (-p.rate * y[0],)


def infused(
    t: np.ndarray, p: Sequence[float], doses: Sequence[tuple[float, float]] = DOSES
) -> np.ndarray:
    """Return the amount at times t (T,) under the parameters of `Infused`."""
    rate, lag, duration, share = p
    total = np.zeros_like(t)
    for time, amount in doses:
        since = t - time - lag
        running = np.clip(since, 0.0, duration)
        inflow = share * amount / duration / rate * (1.0 - np.exp(-rate * running))
        total += inflow * np.exp(-rate * np.clip(since - duration, 0.0, None))
    return total


def late(
    t: np.ndarray, p: Sequence[float], doses: Sequence[tuple[float, float]] = DOSES
) -> np.ndarray:
    """Return the amount at times t (T,) under the parameters of `Late`."""
    rate, lag = p
    parts = [
        np.where(t >= time + lag, amount * np.exp(-rate * (t - time - lag)), 0.0)
        for time, amount in doses
    ]
    return np.sum(parts, axis=0)
