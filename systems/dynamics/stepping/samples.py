"""Dense output at the samples, and the distance of the two solutions there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.systems.dynamics.stepping.batch import Batch
from warp_phys.systems.dynamics.stepping.runge_kutta import evaluate

# How many samples are interpolated together: it bounds the memory if a step contains many samples.
_SAMPLES = 2**20


@dataclass(frozen=True)
class Piece:
    """The dense output of a step: its start (n,), length (n,), state at the start and coefficients.

    `y` and each of the coefficients have the shape (S, n).
    """

    start: Tensor
    length: Tensor
    y: Tensor
    coefficients: list[Tensor]

    def at(self, rows: Tensor, times: Tensor) -> Tensor:
        """Return the states (S, m) of trajectories `rows` (m,) at `times` (m,)."""
        x = (times - self.start[rows]) / self.length[rows]
        return evaluate(self.y[:, rows], [entry[:, rows] for entry in self.coefficients], x)


def write_samples(batch: Batch, coarse: Piece, fine: Piece, stop: Tensor) -> None:
    """Interpolate both solutions at the samples before `stop` (n,), and advance past them."""
    times = batch.problem.times
    # The number of samples strictly before `stop`, by bisection in each row; a sample at the very
    # end of a step is written by `write_reached`, without interpolation.
    behind = torch.searchsorted(times, stop[:, None])[:, 0]
    # Rows without a sample to write stay where they are, also those that did not move.
    behind = torch.where(batch.next_time < stop, behind, batch.sample)
    ends = (behind - batch.sample).cumsum(dim=0)
    # The work is a flat list of (row, sample) pairs. Pair k belongs to the first row whose
    # cumulative count `ends` exceeds k, and its sample is k - before[row], where
    # `before` is the count of pairs in earlier rows minus the first sample of the row.
    before = ends - behind
    # This equals repeat_interleave of the rows by their counts, which would start all threads for a
    # few numbers.
    rows = torch.bincount(ends)[:-1].cumsum(dim=0)
    numbers = torch.arange(rows.numel(), device=rows.device)
    for row, number in zip(rows.split(_SAMPLES), numbers.split(_SAMPLES), strict=True):
        sample = number - before[row]
        at = times[row, sample]
        _write(batch, row, sample, coarse.at(row, at), fine.at(row, at))
    batch.sample = behind
    batch.next_time = batch.time_of(behind)


def write_reached(batch: Batch) -> None:
    """Write the samples whose time has been reached exactly, without interpolation."""
    here = batch.next_time == batch.t
    rows = here.nonzero()[:, 0]
    if rows.numel() == 0:
        return
    _write(batch, rows, batch.sample[rows], batch.y[:, rows], batch.fine[:, rows])
    batch.sample = batch.sample + here.long()
    batch.next_time = batch.time_of(batch.sample)


def _write(batch: Batch, rows: Tensor, samples: Tensor, coarse: Tensor, fine: Tensor) -> None:
    """Write samples (S, m), and update the largest distance of the two solutions."""
    batch.out.states[batch.index[rows], samples] = coarse.T
    # A row may occur several times, once for each of its samples, so that the maxima need a
    # scatter.
    place = rows.expand(len(coarse), -1)
    gap = (coarse - fine).abs()
    if batch.problem.relative:
        gap = gap / (batch.scale[:, rows] + coarse.abs())
    batch.gap = batch.gap.scatter_reduce(1, place, gap, "amax")
    batch.greatest = batch.greatest.scatter_reduce(1, place, coarse.abs(), "amax")
