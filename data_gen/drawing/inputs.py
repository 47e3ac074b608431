"""Checks the inputs of a data set, and lays them out as a table for any block of trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from warp_phys.data_gen.drawing.quantity import Floats
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.forcing.inputs import InputTable
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.checks import check_times


class Driven(NamedTuple):
    """The inputs of N trajectories as arrays.

    Attributes:
        knots: The times of their table, (K,) or (N, K); None if they are the sample times.
        at_knots: (N, K, I), the values at the knots.
        at_samples: (N, T, I); the same array if the knots are the sample times.
    """

    knots: Floats | None
    at_knots: Floats
    at_samples: Floats


@dataclass(frozen=True, eq=False)
class InputSeries:
    """The inputs of N trajectories as given; series shared by all trajectories are stored once.

    Attributes:
        system: The system with these I inputs.
        series: One array for each input, (), (K,) or (N, K).
        times: The knots, (K,) or (N, K) padded with NaN; None if they are the sample times.
    """

    system: System
    series: tuple[Floats, ...]
    times: Floats | None

    def rows(self, rows: slice) -> InputSeries:
        """Return the inputs of some trajectories."""
        series = tuple(one[rows] if one.ndim == 2 else one for one in self.series)
        times = self.times
        if times is not None and times.ndim == 2:
            times = times[rows]
        return replace(self, series=series, times=times)

    def driven(self, count: int, grid: Floats) -> Driven:
        """Return the inputs of `count` trajectories as arrays, at sample times (T,) or (N, T)."""
        knots = grid if self.times is None else self.times
        values = np.empty((count, knots.shape[-1], len(self.system.inputs)))
        for column, one in enumerate(self.series):
            values[:, :, column] = one
        if self.times is None:
            return Driven(None, values, values)
        table = InputTable(_rows_of(knots, count), torch.from_numpy(values))
        return Driven(knots, values, table.at(self.system, _rows_of(grid, count)).numpy())


def _rows_of(times: Floats, count: int) -> Tensor:
    """Return times (T,) or (N, T) as (N, T); shared times remain one row in memory."""
    rows = torch.from_numpy(times)
    return rows.expand(count, -1) if rows.ndim == 1 else rows


def read_inputs(
    system: System,
    n: int,
    grid: Floats,
    given: Mapping[str, ArrayLike] | None,
    times: ArrayLike | None,
) -> InputSeries | None:
    """Return the inputs of n trajectories, or None if the system has none.

    Args:
        system: The system.
        n: Number of trajectories.
        grid: Sample times, (T,) or (n, T) padded with NaN.
        given: Input name -> a number, (K,) or (n, K).
        times: The knots, (K,) or (n, K) padded with NaN; None for the sample times.

    Raises:
        UnknownNameError: A name is not an input of the system.
        UsageError: An input is missing, not finite or of another shape, or the times do not
            increase.
    """
    _check_names(system, given or {})
    if not system.inputs:
        if times is not None:
            raise UsageError(f"{type(system).__name__} has no inputs; leave out input_times")
        return None
    knots = None if times is None else _knots(times, n)
    at = grid if knots is None else knots
    where = "sample time" if knots is None else "time of input_times"
    series = tuple(_series(name, (given or {})[name], n, at, where) for name in system.input_names)
    return InputSeries(system, series, knots)


def _check_names(system: System, given: Mapping[str, ArrayLike]) -> None:
    for name in given:
        if name not in system.input_names:
            raise unknown_name(f"input of {type(system).__name__}", name, system.input_names)
    absent = [name for name in system.input_names if name not in given]
    if absent:
        raise UsageError(
            f"{type(system).__name__} needs its inputs at the sample times (or at input_times); "
            f"give inputs={{{absent[0]!r}: ...}}"
        )


def _knots(times: ArrayLike, n: int) -> Floats:
    knots = np.asarray(times)
    if knots.ndim == 2 and knots.shape[0] != n:
        raise UsageError(f"expected input_times of shape (K,) or ({n}, K), got {knots.shape}")
    check_times(knots, name="input_times")
    return knots.astype(np.float64)


def _series(name: str, given: ArrayLike, n: int, at: Floats, where: str) -> Floats:
    array = np.asarray(given, dtype=np.float64)
    count = at.shape[-1]
    if array.shape not in ((), (count,), (n, count)):
        raise UsageError(
            f"expected input {name!r} as a number or, for each {where}, of shape "
            f"({count},) or ({n}, {count}), got shape {array.shape}"
        )
    unknown = ~np.isfinite(array) & np.isfinite(at)
    if unknown.any():
        *trajectory, sample = np.argwhere(np.atleast_1d(unknown))[0]
        whose = int(trajectory[0]) if trajectory else 0
        value = np.broadcast_to(array, unknown.shape)[(*trajectory, sample)]
        raise UsageError(
            f"expected input {name!r} to be finite, got {value} at sample {sample} of trajectory "
            f"{whose}"
        )
    return array
