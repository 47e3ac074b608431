"""Estimates at every sample of whole records."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.starting_points import middle_start
from warp_phys.models.information.linearize import Linearizer
from warp_phys.models.information.mark import Candidates, Marker
from warp_phys.models.information.marks import marks
from warp_phys.models.information.running import Recurrence, Running


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

    def write(self, sample: int, state: Running, freedom: Tensor) -> None:
        """Write what is known after a sample."""
        belief, innovations = state.belief, state.innovations
        delta, covariance = state.correction.applied(belief.delta, belief.covariance)
        self.mean[:, sample] = state.point + delta
        self.covariance[:, sample] = covariance
        self.freedom[:, sample] = freedom
        self.log_level[:, sample] = belief.log_level
        self.level_freedom[:, sample] = belief.freedom
        self.described[:, sample] = ~innovations.alarm
        self.since[:] = torch.where(innovations.alarm, sample - innovations.since, -1)
        self.status[:, sample] = state.status


def track(problem: FitProblem, recurrence: Recurrence, start: Candidates | None = None) -> Track:
    """Return what is known at every sample of N records."""
    count, length, outputs = problem.records.observed.shape
    found = Track.empty(count, length, outputs, len(problem.unknowns))
    linearizer = Linearizer(problem)
    marker = Marker(linearizer, recurrence, start)
    state = recurrence.start(first_point(problem, recurrence), outputs)
    schedule = marks(length)
    linearizer.evaluate(
        state.point, torch.arange(count), min(length, schedule[0]) if schedule else length
    )
    for sample in range(length):
        state = recurrence.advance(state, linearizer.sample(sample))
        following = next((mark for mark in schedule if mark > sample + 1), length)
        if sample + 1 in schedule:
            state = marker.mark(state, sample + 1, following)
        else:
            state = marker.confirm(state, sample + 1, following)
        found.write(sample, state, recurrence.freedom(state))
        found.predicted[:, sample] = linearizer.predicted_at(sample, state.belief.delta)
    return found


def first_point(problem: FitProblem, recurrence: Recurrence) -> Tensor:
    """Return where records (N, D) are linearized first: the prior's mean, states as observed.

    Only the first sample counts, so that no estimate depends on later ones.
    """
    states = torch.tensor([entry.kind == "initial_state" for entry in problem.unknowns.entries])
    return torch.where(states, middle_start(problem, 1), recurrence.prior.mean)
