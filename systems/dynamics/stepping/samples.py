"""From steps to samples, and how far the two solutions of a trajectory are apart there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.systems.dynamics.stepping.batch import Batch
from warp_phys.systems.dynamics.stepping.runge_kutta import evaluate

# Samples interpolated together, which bounds the memory where there are many in one step.
_SAMPLES = 2**20


@dataclass(frozen=True)
class Piece:
    """A step's interpolant: where it begins, how long it is, and its coefficients."""

    start: Tensor
    length: Tensor
    y: Tensor
    coefficients: list[Tensor]

    def at(self, rows: Tensor, times: Tensor) -> Tensor:
        """Return the states (S, m) of trajectories `rows` (m,) at `times` (m,)."""
        x = (times - self.start[rows]) / self.length[rows]
        return evaluate(self.y[:, rows], [entry[:, rows] for entry in self.coefficients], x)


def write_samples(batch: Batch, coarse: Piece, fine: Piece, stop: Tensor) -> None:
    """Interpolate at the samples before `stop`, and move on to those behind."""
    times = batch.problem.times
    behind = torch.searchsorted(times, stop[:, None])[:, 0]
    behind = torch.where(batch.next_time < stop, behind, batch.sample)
    ends = (behind - batch.sample).cumsum(dim=0)
    before = ends - behind  # samples due in earlier rows, less the number of the row's first
    # As repeat_interleave, which would wake all threads for a handful of numbers.
    rows = torch.bincount(ends)[:-1].cumsum(dim=0)
    numbers = torch.arange(rows.numel(), device=rows.device)
    for row, number in zip(rows.split(_SAMPLES), numbers.split(_SAMPLES), strict=True):
        sample = number - before[row]
        at = times[row, sample]
        _write(batch, row, sample, coarse.at(row, at), fine.at(row, at))
    batch.sample = behind
    batch.next_time = batch.time_of(behind)


def write_reached(batch: Batch) -> None:
    """Write the samples at the very times that have been reached."""
    here = batch.next_time == batch.t
    rows = here.nonzero()[:, 0]
    if rows.numel() == 0:
        return
    _write(batch, rows, batch.sample[rows], batch.y[:, rows], batch.fine[:, rows])
    batch.sample = batch.sample + here.long()
    batch.next_time = batch.time_of(batch.sample)


def _write(batch: Batch, rows: Tensor, samples: Tensor, coarse: Tensor, fine: Tensor) -> None:
    """Write samples (S, m), and note how far both solutions are apart."""
    batch.out.states[batch.index[rows], samples] = coarse.T
    place = rows.expand(len(coarse), -1)
    batch.gap = batch.gap.scatter_reduce(1, place, (coarse - fine).abs(), "amax")
    batch.greatest = batch.greatest.scatter_reduce(1, place, coarse.abs(), "amax")
