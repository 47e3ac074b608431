"""The time grid on which records with doses, tables of inputs or increments are integrated.

In addition to the samples, the grid has the initial time, the knots of the table, the times of the
doses and those at which a schedule in the right-hand side changes, as samples at which nothing was
observed. Between two times of the grid inputs are linear or constant, and states jump only at its
times, so that an integrator never steps over a discontinuity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.records.records import Records
from warp_phys.systems.dynamics.scheduled_times import scheduled_times
from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.forcing.dosing import plain_doses
from warp_phys.systems.forcing.inputs import InputTable
from warp_phys.systems.model.system import System


@dataclass(frozen=True)
class FineGrid:
    """Records of N trajectories at F times each, T of which are their samples.

    Attributes:
        records: The records on the grid; observations are NaN where there is no sample.
        weights: (N, F, O) or None, see `FitProblem`.
        jumps: (N, F, S) or None, see `FitProblem`.
        place: (N, T), the position of each sample on the grid.
        valid: (N, T), whether it is a sample, rather than padding.
    """

    records: Records
    weights: Tensor | None
    jumps: Tensor | None
    place: Tensor
    valid: Tensor

    def select(self, rows: Tensor) -> FineGrid:
        """Return the grid of some trajectories."""
        return FineGrid(
            self.records.select(rows),
            None if self.weights is None else self.weights[rows],
            None if self.jumps is None else self.jumps[rows],
            self.place[rows],
            self.valid[rows],
        )

    def observing(self, records: Records) -> FineGrid:
        """Return the grid with other values (N, T, O) at the samples, none of them censored."""
        if self.records.censored is None:
            return self
        times = torch.where(self.records.valid, self.records.times, torch.inf)
        values = _spread(records.observed, self.place, self.valid, times, torch.nan)
        return replace(self, records=replace(self.records, observed=values, censored=None))

    def limits(self, rows: Tensor, limit: Tensor) -> Tensor:
        """Return how many times of the grid lead to the first `limit` samples of lanes (L,)."""
        # The grid up to and including the last of the first `limit` samples.
        last = self.place[rows].gather(1, (limit - 1).clamp_min(0).unsqueeze(1)).squeeze(1)
        return torch.where(limit > 0, last + 1, 0)

    def at_samples(self, rows: Tensor, values: Tensor) -> Tensor:
        """Return values (L, F, O) on the grids of trajectories rows (L,) at the samples."""
        wide = self.place[rows].unsqueeze(2).expand(-1, -1, values.shape[2])
        return torch.where(self.valid[rows].unsqueeze(2), values.gather(1, wide), torch.nan)


def fine_grid(
    system: System, records: Records, start: Tensor, weights: Tensor | None
) -> FineGrid | None:
    """Return the grid of records, or None where their samples suffice.

    Args:
        system: The system.
        records: The records.
        start: (N,), the time of the initial states.
        weights: (N, T, O) or None.
    """
    # Doses with a lag time or a duration are events, at times that no grid knows.
    doses = plain_doses(system, records.doses)
    counted = {system.output_names[place] for place in system.increments}
    changes = scheduled_times(system, start, records.times.nan_to_num(-torch.inf).amax(dim=1))
    plain = doses is None and records.table is None and not changes.shape[1]
    if plain and not counted & set(records.outputs):
        return None
    rank = _rank(records)
    times = _times(records, doses, start, rank, changes)
    # Every sample time is on the grid exactly, as the same number, so that the search finds it.
    place = torch.searchsorted(times, records.times.nan_to_num(0.0)) + rank
    place = torch.where(records.valid, place, 0)
    # Without a table, inputs are interpolated between the samples, also at dose times.
    table = records.table or InputTable(records.times, records.inputs.nan_to_num(0.0))
    fine = Records(
        observed=_spread(records.observed, place, records.valid, times, torch.nan),
        times=torch.where(times.isfinite(), times, torch.nan),
        inputs=table.at(system, times) if system.inputs else records.inputs[:, :0],
        outputs=records.outputs,
        labels=records.labels,
        own_grids=True,
        censored=None
        if records.censored is None
        else _spread(records.censored, place, records.valid, times, 0.0),
    )
    return FineGrid(
        records=fine,
        weights=None if weights is None else _spread(weights, place, records.valid, times, 1.0),
        jumps=None if doses is None else _jumps(system, doses, times),
        place=place,
        valid=records.valid,
    )


def _rank(records: Records) -> Tensor:
    """Return how many samples before each one have the same time, (N, T)."""
    same = torch.zeros_like(records.times, dtype=torch.int64)
    same[:, 1:] = records.times[:, 1:] == records.times[:, :-1]
    # The number of samples since the last one with a new time.
    number = torch.arange(same.shape[1]).expand_as(same)
    return number - torch.where(same == 0, number, 0).cummax(dim=1).values


def _times(
    records: Records, doses: Doses | None, start: Tensor, rank: Tensor, changes: Tensor
) -> Tensor:
    """Return the times (N, F) in ascending order, infinite after the last sample."""
    parts = [start.unsqueeze(1), records.times, changes]
    if records.table is not None:
        parts.append(records.table.times)
    if doses is not None:
        parts.append(doses.times)
    last = records.times.nan_to_num(-torch.inf).amax(dim=1, keepdim=True)
    times = torch.cat(parts, dim=1)
    # Knots and doses outside the record have no effect on a sample. Infinity sorts them last.
    inside = (times >= start.unsqueeze(1)) & (times <= last)
    times = torch.where(inside, times, torch.inf).sort(dim=1).values
    # A dose or knot at a sample time would be a step of length zero: duplicates are removed.
    again = torch.zeros_like(inside)
    again[:, 1:] = times[:, 1:] == times[:, :-1]
    times = torch.where(again, torch.inf, times)
    if rank.any():
        # Further measurements at one time are grid points of their own, after the first.
        more = torch.where(records.valid & (rank > 0), records.times, torch.inf)
        times = torch.cat([times, more], dim=1)
    times = times.sort(dim=1).values
    return times[:, : int(times.isfinite().sum(dim=1).max())].contiguous()


def _spread(values: Tensor, place: Tensor, valid: Tensor, times: Tensor, rest: float) -> Tensor:
    """Scatter values (N, T, O) of samples onto the grid, with `rest` at its other times."""
    spread = values.new_full((*times.shape, values.shape[2]), rest)
    row, sample = valid.nonzero(as_tuple=True)
    spread[row, place[row, sample]] = values[row, sample]
    return spread


def _jumps(system: System, doses: Doses, times: Tensor) -> Tensor:
    """Return the amounts by which doses raise the states at each time, (N, F, S)."""
    jumps = times.new_zeros(*times.shape, len(system.states))
    every = torch.arange(len(times))
    for number in range(len(doses.states)):
        when = doses.times[:, number]
        at = torch.searchsorted(times, when.nan_to_num(torch.inf).unsqueeze(1)).squeeze(1)
        at = at.clamp_max(times.shape[1] - 1)
        # A dose outside the record, or a NaN that pads the table, matches no time of the grid.
        here = (times[every, at] == when).unsqueeze(1)
        jumps[every, at] += torch.where(here, doses.rise(system, number), 0.0)
    return jumps
