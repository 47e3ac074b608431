"""The grid on which records with doses or tables of inputs are integrated.

Beside the samples it has the initial time, the knots of the table and the times of the doses, as
samples at which nothing was observed. Between two of its times inputs are linear or constant, and
states jump at them alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.records.records import Records
from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.forcing.inputs import InputTable
from warp_phys.systems.model.system import System


@dataclass(frozen=True)
class FineGrid:
    """Records of N trajectories at F times each, T of which are their samples.

    Attributes:
        records: NaN is observed where there is no sample.
        weights: (N, F, O) or None, see `FitProblem`.
        jumps: (N, F, S) or None, likewise.
        place: (N, T), where each sample is on the grid.
        valid: (N, T), whether it is a sample, rather than padding.
    """

    records: Records
    weights: Tensor | None
    jumps: Tensor | None
    place: Tensor
    valid: Tensor

    def select(self, rows: Tensor) -> FineGrid:
        """Return that of some trajectories."""
        return FineGrid(
            self.records.select(rows),
            None if self.weights is None else self.weights[rows],
            None if self.jumps is None else self.jumps[rows],
            self.place[rows],
            self.valid[rows],
        )

    def limits(self, rows: Tensor, limit: Tensor) -> Tensor:
        """Return how many times of the grid lead to the first `limit` samples of lanes (L,)."""
        last = self.place[rows].gather(1, (limit - 1).clamp_min(0).unsqueeze(1)).squeeze(1)
        return torch.where(limit > 0, last + 1, 0)

    def at_samples(self, rows: Tensor, values: Tensor) -> Tensor:
        """Return values (L, F, O) on the grids of trajectories rows (L,) at the samples."""
        wide = self.place[rows].unsqueeze(2).expand(-1, -1, values.shape[2])
        return torch.where(self.valid[rows].unsqueeze(2), values.gather(1, wide), torch.nan)


def fine_grid(
    system: System, records: Records, start: Tensor, weights: Tensor | None
) -> FineGrid | None:
    """Return the grid of records, None where their samples are enough.

    Args:
        system: The system.
        records: The records.
        start: (N,), when the initial states hold.
        weights: (N, T, O) or None.
    """
    doses = records.doses
    if doses is None and records.table is None:
        return None
    times = _times(records, start)
    place = torch.searchsorted(times, records.times.nan_to_num(0.0))
    place = torch.where(records.valid, place, 0)
    table = records.table or InputTable(records.times, records.inputs.nan_to_num(0.0))
    fine = Records(
        observed=_spread(records.observed, place, records.valid, times, torch.nan),
        times=torch.where(times.isfinite(), times, torch.nan),
        inputs=table.at(system, times) if system.inputs else records.inputs[:, :0],
        outputs=records.outputs,
        labels=records.labels,
        own_grids=True,
    )
    return FineGrid(
        records=fine,
        weights=None if weights is None else _spread(weights, place, records.valid, times, 1.0),
        jumps=None if doses is None else _jumps(system, doses, times),
        place=place,
        valid=records.valid,
    )


def _times(records: Records, start: Tensor) -> Tensor:
    """Return the times (N, F) in order, infinite behind the last sample of each trajectory."""
    parts = [start.unsqueeze(1), records.times]
    if records.table is not None:
        parts.append(records.table.times)
    if records.doses is not None:
        parts.append(records.doses.times)
    last = records.times.nan_to_num(-torch.inf).amax(dim=1, keepdim=True)
    times = torch.cat(parts, dim=1)
    inside = (times >= start.unsqueeze(1)) & (times <= last)
    times = torch.where(inside, times, torch.inf).sort(dim=1).values
    again = torch.zeros_like(inside)
    again[:, 1:] = times[:, 1:] == times[:, :-1]
    times = torch.where(again, torch.inf, times).sort(dim=1).values
    return times[:, : int(times.isfinite().sum(dim=1).max())].contiguous()


def _spread(values: Tensor, place: Tensor, valid: Tensor, times: Tensor, rest: float) -> Tensor:
    """Put values (N, T, O) of samples in their places on the grid, `rest` in between."""
    spread = values.new_full((*times.shape, values.shape[2]), rest)
    row, sample = valid.nonzero(as_tuple=True)
    spread[row, place[row, sample]] = values[row, sample]
    return spread


def _jumps(system: System, doses: Doses, times: Tensor) -> Tensor:
    """Return what the states rise by at each time, (N, F, S)."""
    jumps = times.new_zeros(*times.shape, len(system.states))
    every = torch.arange(len(times))
    for number in range(len(doses.states)):
        when = doses.times[:, number]
        at = torch.searchsorted(times, when.nan_to_num(torch.inf).unsqueeze(1)).squeeze(1)
        at = at.clamp_max(times.shape[1] - 1)
        here = (times[every, at] == when).unsqueeze(1)
        jumps[every, at] += torch.where(here, doses.rise(system, number), 0.0)
    return jumps
