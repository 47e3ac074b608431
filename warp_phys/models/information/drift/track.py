"""Estimates of unknowns that change at every sample of whole records."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.models.information.drift.coordinate_flow import Observed
from warp_phys.models.information.drift.level import LevelRule
from warp_phys.models.information.drift.recurrence import Drifting, DriftingRecurrence
from warp_phys.models.information.records_estimate import Track
from warp_phys.models.information.running import Recurrence

WINDOW = 128
"""How many samples are linearized anew at most."""
# After each of so many samples all are linearized anew, then after twice as many as the last time.
_DENSE = 8


def drifting_track(
    problem: FitProblem,
    recurrence: Recurrence,
    drift: Mapping[str, float],
    window: int = WINDOW,
) -> Track:
    """Return what is known about the current unknowns at every sample of N records.

    The unknowns are those of `current_entries`: the free parameters and all states, at the time of
    the sample.

    Args:
        problem: The records.
        recurrence: Prior and noise.
        drift: Standard deviations of random walks for each root of the time unit, in unconstrained
            coordinates, by parameter.
        window: How many samples are linearized anew at most.
    """
    fine = problem.on_fine_grid()
    advancing = DriftingRecurrence(fine, recurrence, drift)
    state, samples, first = advancing.start(), Observed.of(fine), 0
    length, written = samples.time.shape[1], _written(problem)
    found = Track.empty(
        len(problem),
        problem.records.times.shape[1],
        len(recurrence.prior.level),
        len(advancing.flow.entries),
    )
    schedule = Schedule(window)
    for sample in range(length):
        state = advancing.advance(state, samples.at(sample))
        since = sample + 1 - first
        if schedule.due(sample + 1):
            keep = schedule.dropped(since)
            state = advancing.mark(state, samples.between(first, sample + 1), keep)
            first += keep
        _write(found, state, written[:, sample], advancing.rule)
    return found


class Schedule:
    """When samples are linearized anew, and how many of them are then left behind.

    Args:
        window: How many samples are linearized anew at most.
    """

    def __init__(self, window: int) -> None:
        self.window = window

    def due(self, count: int) -> bool:
        """Return whether all samples since the base are linearized anew after `count` samples."""
        if count >= self.window:
            return count % (self.window // 2) == 0
        return count <= _DENSE or count.bit_count() == 1

    def dropped(self, since: int) -> int:
        """Return how many of the samples since the base it then leaves behind."""
        return self.window // 2 if since >= self.window else 0


def _written(problem: FitProblem) -> Tensor:
    """Return the number of the sample (N, F) at each time of the grid, -1 where there is none."""
    count, length = problem.records.times.shape
    numbers = torch.arange(length).expand(count, -1)
    if problem.fine is None:
        return torch.where(problem.records.valid, numbers, -1)
    found = torch.full(problem.fine.records.times.shape, -1)
    rows, samples = problem.fine.valid.nonzero(as_tuple=True)
    found[rows, problem.fine.place[rows, samples]] = samples
    return found


def _write(track: Track, state: Drifting, sample: Tensor, rule: LevelRule) -> None:
    """Write what is known after a sample of a number (N,) into the rows that have one."""
    rows = (sample >= 0).nonzero()[:, 0]
    place = rows, sample[rows]
    track.mean[place] = state.known.mean[rows]
    track.covariance[place] = state.covariance(rule)[rows]
    track.freedom[place] = state.freedom(rule.kind)[rows]
    track.log_level[place] = state.level.logarithm[rows]
    track.level_freedom[place] = state.level.freedom[rows]
    track.predicted[place] = state.predicted[rows]
    alarm = state.innovations.alarm[rows]
    track.described[place] = ~alarm
    track.since[rows] = torch.where(alarm, place[1] - state.innovations.since[rows], -1)
    track.status[place] = state.status[rows]
