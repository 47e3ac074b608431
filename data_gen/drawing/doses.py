"""Doses of a data set: who gets how much and when, for any block of trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from warp_phys.data_gen.drawing.quantity import Floats, draw, rows_of
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.systems.dynamics.doses import Dose
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.system import System

Doses = tuple[Dose, ...]


def read_doses(system: System, given: Sequence[Dose]) -> Doses:
    """Return the doses given, each to a state of the system.

    Raises:
        UnknownNameError: A state does not exist.
        UsageError: Something is not a `Dose`.
    """
    doses = tuple(given) if isinstance(given, Sequence) else (given,)
    for dose in doses:
        if not isinstance(dose, Dose):
            raise UsageError(f"expected doses as a list of Dose(state, amount, time), got {dose!r}")
        if dose.state not in system.state_names:
            raise unknown_name(f"state of {type(system).__name__}", dose.state, system.state_names)
    return doses


def doses_of(doses: Doses, n: int, first: int, count: int) -> Doses:
    """Return the doses of trajectories first to first + count of n: arrays cut."""
    return tuple(
        replace(
            dose,
            amount=rows_of(f"dose {number} amount", dose.amount, n, first, count),
            time=rows_of(f"dose {number} time", dose.time, n, first, count),
        )
        for number, dose in enumerate(doses)
    )


def draw_doses(streams: Streams, doses: Doses, count: int, grid: Floats) -> Doses:
    """Return the doses with one amount and one time for each of a block's trajectories, (count,).

    Args:
        streams: The random streams, from the first of these trajectories on.
        doses: See `doses_of`.
        count: Number of trajectories.
        grid: Sample times, (T,) or (count, T); the first is when the initial state holds.

    Raises:
        UsageError: An amount is not finite, or a time comes before the first sample.
    """
    start = np.broadcast_to(grid[..., 0], (count,))
    drawn = []
    for number, dose in enumerate(doses):
        amount = draw(streams, f"dose {number} amount", dose.amount, count)
        time = draw(streams, f"dose {number} time", dose.time, count)
        given = ~np.isnan(time)
        _check(given & ~np.isfinite(amount), f"finite amounts of dose {number}", amount, streams)
        wanted = f"times of dose {number} not before the first sample"
        _check(given & ~(time >= start) | np.isinf(time), wanted, time, streams)
        drawn.append(Dose(dose.state, amount, time))
    return tuple(drawn)


def _check(bad: np.ndarray, wanted: str, values: Floats, streams: Streams) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise UsageError(
            f"expected {wanted}, got {values[row]:.10g} for trajectory {streams.first + row}"
        )
