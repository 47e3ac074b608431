"""Estimates at every sample of whole records."""

from __future__ import annotations

from ctypes import CDLL
from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.models.information.kernels.segment import SegmentKernel, library_for, owned, put
from warp_phys.models.information.marks.linearizer import Linearizer
from warp_phys.models.information.marks.marker import STALE, Candidates, Marker
from warp_phys.models.information.marks.schedule import marks
from warp_phys.models.information.prior.points import prior_mean
from warp_phys.models.information.running import Recurrence
from warp_phys.models.information.state import Running


@dataclass(frozen=True)
class Track:
    """What is known at every sample of N records, NaN after the last.

    Attributes:
        mean: (N, T, D), coordinates.
        covariance: (N, T, D, D).
        freedom: (N, T, D), degrees of freedom of the standard deviations.
        log_level: (N, T, O), logarithms of the noise levels.
        level_freedom: (N, T, O), their degrees of freedom.
        predicted: (N, T, O), outputs.
        described: (N, T), whether the model describes the record so far.
        since: (N,), number of the first sample that it does not describe, -1 where there is none.
        status: (N, T), bits of `ESTIMATE_STATUS`.
    """

    mean: Tensor
    covariance: Tensor
    freedom: Tensor
    log_level: Tensor
    level_freedom: Tensor
    predicted: Tensor
    described: Tensor
    since: Tensor
    status: Tensor

    @classmethod
    def empty(cls, records: int, samples: int, outputs: int, unknowns: int) -> Track:
        """Return a track of NaN."""

        def new(*shape: int) -> Tensor:
            return torch.full((records, samples, *shape), torch.nan, dtype=torch.float64)

        whole = torch.zeros(records, samples, dtype=torch.int64)
        return cls(
            new(unknowns),
            new(unknowns, unknowns),
            new(unknowns),
            new(outputs),
            new(outputs),
            new(outputs),
            whole == 0,
            torch.full((records,), -1),
            whole,
        )

    def write(self, sample: int, state: Running, freedom: Tensor, rows: Tensor | slice) -> None:
        """Write the estimates of some records (n,), whose state it is, after a sample."""
        belief = state.belief
        delta, covariance = state.correction.applied(belief.delta, belief.covariance)
        self.mean[rows, sample] = state.point + delta
        self.covariance[rows, sample] = covariance
        self.freedom[rows, sample] = freedom
        self.log_level[rows, sample] = belief.log_level
        self.level_freedom[rows, sample] = belief.freedom
        self.described[rows, sample] = ~state.innovations.alarm


def track(problem: FitProblem, recurrence: Recurrence, start: Candidates | None = None) -> Track:
    """Return what is known at every sample of N records."""
    return _Tracker(problem, recurrence, start).run()


class _Tracker:
    """Goes over records from mark to mark."""

    def __init__(
        self, problem: FitProblem, recurrence: Recurrence, start: Candidates | None
    ) -> None:
        self.problem, self.recurrence = problem, recurrence
        count, self.length, outputs = problem.records.observed.shape
        self.every = torch.arange(count)
        self.track = Track.empty(count, self.length, outputs, len(problem.unknowns))
        self.linearizer = Linearizer(problem)
        library = library_for(recurrence, outputs)
        self.kernel = None if library is None else self._kernel(library)
        self.marker = Marker(self.linearizer, recurrence, start, self.kernel)

    def _kernel(self, library: CDLL) -> SegmentKernel:
        # What the kernel writes to the array of predictions is how far they move.
        known = {**vars(self.track), "moved": self.track.predicted}
        linear = self.linearizer.residual, self.linearizer.jacobian
        size = self.linearizer.noise.magnitude(self.problem.records.observed)
        return SegmentKernel(library, self.recurrence, known, linear, size, STALE)

    def run(self) -> Track:
        """Return what is known at every sample."""
        outputs = len(self.problem.records.outputs)
        # Only the first sample counts, so that no estimate depends on later ones.
        point = prior_mean(self.problem, self.recurrence.prior, 1)
        state = self.recurrence.start(point, outputs)
        # Every record ends with a segment, be its last sample a mark or not.
        schedule = marks(self.length)
        ends = [*schedule, *([] if schedule and schedule[-1] == self.length else [self.length])]
        self.linearizer.evaluate(state.point, self.every, ends[0])
        first = 0
        for place, end in enumerate(ends):
            marked = place < len(schedule)
            if self.kernel is None:
                state = self._stepped(state, first, end, marked)
            else:
                state = self._walked(self.kernel, state, first, end, marked)
            if marked:
                following = ends[place + 1] if place + 1 < len(ends) else end
                state = self.marker.mark(state, end, following)
                self._write(end - 1, state, self.every)
            first = end
        return self.track

    def _stepped(self, state: Running, first: int, end: int, marked: bool) -> Running:
        """Return the state after a segment, by PyTorch."""
        for sample in range(first, end):
            state = self.recurrence.advance(state, self.linearizer.sample(sample))
            if marked and sample + 1 == end:
                break  # the mark tests and writes the last sample
            state = self.marker.confirm(state, sample + 1, end)
            self._write(sample, state, self.every)
        return state

    def _walked(
        self, kernel: SegmentKernel, state: Running, first: int, end: int, marked: bool
    ) -> Running:
        """Return the state after a segment, by compiled code."""
        self.track.status[:, first:end] = state.status.unsqueeze(1)
        state, waiting = owned(state), [(self.every, first)]
        while waiting:
            rows, begin = waiting.pop()
            stop = kernel.walk(state, rows, (begin, end), marked=marked)
            self._predict(rows, slice(begin, end))
            for sample in stop[stop < end].unique().tolist():
                some = rows[stop == sample]
                found = self.marker.confirmed(state, some, sample + 1, end)
                put(state, some, found)
                self._write(sample, found, some)
                if sample + 1 < end:
                    waiting.append((some, sample + 1))
        return state

    def _predict(self, rows: Tensor, samples: slice) -> None:
        """Turn how far predictions of some records move into predictions."""
        place = slice(None) if len(rows) == len(self.every) else rows
        moved = self.track.predicted[place, samples]
        self.track.predicted[place, samples] = self.linearizer.predicted_after(
            place, samples, moved
        )

    def _write(self, sample: int, state: Running, rows: Tensor) -> None:
        """Write what is known after a sample about some records (n,), whose state it is."""
        track = self.track
        if self.kernel is None:
            place = slice(None) if len(rows) == len(self.every) else rows
            track.write(sample, state, self.recurrence.freedom(state), place)
            predicted = self.linearizer.predicted_at(sample, state.belief.delta, place)
            track.predicted[place, sample] = predicted
        else:
            self.kernel.write(state, rows, sample)
            self._predict(rows, slice(sample, sample + 1))
        alarm, since = state.innovations.alarm, state.innovations.since
        track.since[rows] = torch.where(alarm, sample - since, -1)
        track.status[rows, sample] = state.status
