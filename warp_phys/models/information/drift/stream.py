"""Unknowns of sensors that change in time, one sample of all sensors at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.models.estimator import StreamEstimate
from warp_phys.models.information.drift.coordinate_flow import Observed
from warp_phys.models.information.drift.recurrence import Drifting, DriftingRecurrence
from warp_phys.models.information.drift.track import Schedule
from warp_phys.models.information.physical import physical_values, t_quantile
from warp_phys.models.information.running import Recurrence
from warp_phys.models.information.stream.about import About, about_sensors
from warp_phys.models.information.stream.files import read_memory, write_memory

_KIND = "memory of the information head with drift"


@dataclass(frozen=True)
class DriftMemory:
    """What is known about N sensors whose parameters change, and their last samples.

    Attributes:
        state: What is known.
        kept: The samples since the base of the state, at most `keep`.
        count: Samples so far.
        keep: How many samples are kept at most.
        about: What it belongs to.
    """

    state: Drifting
    kept: tuple[Observed, ...]
    count: int
    keep: int
    about: About

    @property
    def shape(self) -> tuple[int, int]:
        """The number of sensors and of outputs."""
        sensors, outputs = self.state.predicted.shape
        return sensors, outputs

    @property
    def time(self) -> Tensor:
        """(N,), the time of the last sample, NaN before it."""
        return (
            self.state.place.time
            if self.count
            else torch.full_like(self.state.place.time, torch.nan)
        )

    def late(self, times: Tensor) -> Tensor:
        """Return which of the next times (N,) do not come after the last sample."""
        return times <= self.time

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the memory as safetensors with a JSON header, see `InformationMemory.save`."""
        tensors = self.state.flat("state")
        for number, sample in enumerate(self.kept):
            tensors |= sample.flat(f"kept{number}")
        facts = {"count": self.count, "keep": self.keep, "kept": len(self.kept)}
        write_memory(path, _KIND, tensors, facts, self.about, overwrite=overwrite)

    def restored(self, path: str | os.PathLike[str]) -> DriftMemory:
        """Return the memory in a file, see `InformationMemory.restored`."""
        tensors, header = read_memory(path, _KIND, self.about, "state.place.time", self.shape[0])
        state = self.state
        like = Observed(
            state.place.time, state.predicted, state.place.inputs, state.predicted, state.predicted
        )
        kept = tuple(like.from_flat(f"kept{number}", tensors) for number in range(header["kept"]))
        return replace(
            self,
            state=state.from_flat("state", tensors),
            kept=kept,
            count=header["count"],
            keep=header["keep"],
        )


class DriftStream:
    """Estimates of N sensors, sample by sample, equal to those of `drifting_track`.

    Args:
        problem: The likelihood problem of the sensors, with records from `sensor_records`.
        recurrence: Prior and noise.
        drift: Sizes of the random walks, see `drifting_track`.
        level: Probability inside the band of each unknown.
    """

    def __init__(
        self,
        problem: FitProblem,
        recurrence: Recurrence,
        drift: Mapping[str, float],
        level: float,
    ) -> None:
        self.problem, self.level = problem, level
        self.recurrence = DriftingRecurrence(problem, recurrence, drift)
        self.about = about_sensors(problem, recurrence.prior, drift)
        self.unknowns = replace(problem.unknowns, entries=self.recurrence.flow.entries)

    def begin(self, keep: int) -> DriftMemory:
        """Return the memory before the first sample, to keep at most so many samples."""
        return DriftMemory(self.recurrence.start(), (), 0, keep, self.about)

    def step(
        self, memory: DriftMemory, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[DriftMemory, StreamEstimate]:
        """Process one sample of every sensor; see `Estimator.step`."""
        sample = self._sample(times, observed, inputs)
        state = memory.state
        if memory.count == 0:
            place = replace(state.place, time=times, inputs=inputs)
            state = replace(state, place=place, base=replace(state.base, place=place))
        state = self.recurrence.advance(state, sample)
        kept, count, schedule = (*memory.kept, sample), memory.count + 1, Schedule(memory.keep)
        if schedule.due(count):
            dropped = schedule.dropped(len(kept))
            state = self.recurrence.mark(state, _stacked(kept), dropped)
            kept = kept[dropped:]
        return replace(memory, state=state, kept=kept, count=count), self._estimate(state)

    def _sample(self, times: Tensor, observed: Tensor, inputs: Tensor) -> Observed:
        weights = self.problem.weights
        return Observed(
            times,
            observed,
            inputs,
            torch.ones_like(observed) if weights is None else weights[:, 0],
            torch.zeros(len(times), len(self.problem.system.states), dtype=torch.float64),
        )

    def _estimate(self, state: Drifting) -> StreamEstimate:
        rule = self.recurrence.rule
        variance = state.covariance(rule).diagonal(dim1=1, dim2=2)
        half_width = t_quantile(state.freedom(rule.kind), self.level) * variance.sqrt()
        z = state.known.mean
        ends = torch.stack([z, z - half_width, z + half_width], dim=1)
        parameters, states = physical_values(
            self.problem.system, self.unknowns, ends, at_start=False
        )
        low, high = parameters[:, 1], parameters[:, 2]
        return StreamEstimate(
            parameters[:, 0],
            torch.minimum(low, high),
            torch.maximum(low, high),
            states[:, 0],
            described=~state.innovations.alarm,
            status=state.status,
        )


def _stacked(samples: tuple[Observed, ...]) -> Observed:
    """Return samples of N sensors as n samples each."""
    names = ("time", "values", "inputs", "weights", "jumps")
    return Observed(
        *(torch.stack([getattr(one, name) for one in samples], dim=1) for name in names)
    )
