"""Checks the doses of a data set, and draws those of any block of trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch

from warp_phys.data_gen.drawing.quantity import Floats, draw, rows_of
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.forcing.doses import Dose, Doses
from warp_phys.systems.model.system import System

DoseRecipes: TypeAlias = tuple[Dose, ...]
"""Doses whose amounts and times are numbers, ranges, distributions or arrays."""


def check_doses(system: System, given: Sequence[Dose]) -> DoseRecipes:
    """Return the doses, after checking that each is added to a state of the system.

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


def doses_of(doses: DoseRecipes, n: int, first: int, count: int) -> DoseRecipes:
    """Return the doses of trajectories first to first + count of n, with arrays sliced."""
    return tuple(
        replace(
            dose,
            amount=rows_of(f"dose {number} amount", dose.amount, n, first, count),
            time=rows_of(f"dose {number} time", dose.time, n, first, count),
        )
        for number, dose in enumerate(doses)
    )


def draw_doses(streams: Streams, doses: DoseRecipes, count: int, grid: Floats) -> Doses | None:
    """Return the doses of a block of `count` trajectories, None if there are none.

    Args:
        streams: The random streams, from the first of these trajectories on.
        doses: See `doses_of`.
        count: Number of trajectories.
        grid: Sample times, (T,) or (count, T); the first one is the time of the initial state.

    Raises:
        UsageError: An amount is not finite, or a time comes before the first sample.
    """
    if not doses:
        return None
    start = np.broadcast_to(grid[..., 0], (count,))
    amounts, times = np.empty((count, len(doses))), np.empty((count, len(doses)))
    for number, dose in enumerate(doses):
        amount = draw(streams, f"dose {number} amount", dose.amount, count)
        time = draw(streams, f"dose {number} time", dose.time, count)
        given = ~np.isnan(time)
        _check(given & ~np.isfinite(amount), f"finite amounts of dose {number}", amount, streams)
        wanted = f"times of dose {number} not before the first sample"
        _check(given & ~(time >= start) | np.isinf(time), wanted, time, streams)
        amounts[:, number], times[:, number] = amount, time
    states = tuple(dose.state for dose in doses)
    return Doses(states, torch.from_numpy(amounts), torch.from_numpy(times))


def _check(bad: np.ndarray, wanted: str, values: Floats, streams: Streams) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise UsageError(
            f"expected {wanted}, got {values[row]:.10g} for trajectory {streams.first + row}"
        )
