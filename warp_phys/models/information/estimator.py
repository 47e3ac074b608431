"""The estimator of the information head: states the problem, tracks it, labels the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.stating.noise_arguments import noise_model
from warp_phys.likelihood.stating.state_problem import state_problem
from warp_phys.likelihood.unknown import Unknown
from warp_phys.models.estimator import Estimates, Estimator, StreamEstimate
from warp_phys.models.information.drift.coordinate_flow import current_entries
from warp_phys.models.information.drift.stream import DriftMemory, DriftStream
from warp_phys.models.information.drift.track import WINDOW, drifting_track
from warp_phys.models.information.marks.started import started
from warp_phys.models.information.options import InformationOptions, location_scale
from warp_phys.models.information.prior.prior import Moments, build_prior
from warp_phys.models.information.records_estimate import track
from warp_phys.models.information.running import Recurrence
from warp_phys.models.information.stream.memory import InformationMemory
from warp_phys.models.information.stream.stream import SensorStream, sensor_records
from warp_phys.models.information.variables import unknown_coords, variables
from warp_phys.models.streaming import BAND_LEVEL
from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.registry import noise_settings

# Records in one pass: enough that the cost of a call does not matter, few enough for the cache.
_TOGETHER = 2000
_SAMPLES_TOGETHER = 400_000
_RTOL = 1e-7
KEEP = 1024
"""Samples of a sensor that are kept unless the caller says how many."""


class InformationEstimator:
    """Estimates by the information recurrence, at every sample of records and of sensors.

    Args:
        system: The system.
        options: What the caller knows.
        learned: Moments of a data set as prior, or None.
        start: Another model's estimator, whose estimates are tried as points of linearization.
    """

    outputs = None
    forcing = True

    def __init__(
        self,
        system: System,
        options: InformationOptions,
        learned: Moments | None,
        start: Estimator | None,
    ) -> None:
        self.system, self.options = system, options
        self.learned, self.start_model = learned, start
        self._streams: dict[tuple[int, tuple[str, ...]], SensorStream | DriftStream] = {}

    def problem(self, records: Records) -> FitProblem:
        """Return the likelihood problem of records; values that the noise rules out are missing."""
        options, learned = self.options, self.learned
        noise = options.distribution
        if noise is None:
            noise = "normal" if learned is None else learned.noise
        wrong = noise_model(noise, options.loss).impossible(records.observed)
        records = replace(records, observed=records.observed.masked_fill(wrong, torch.nan))
        fixed = {} if learned is None else learned.fixed
        states = options.initial_state
        if learned is not None and learned.states and states == "auto":
            states = records.known_states or learned.states
        return state_problem(
            self.system,
            records,
            distribution=noise,
            loss=options.loss,
            noise_sd=options.noise_sd,
            initial_state=states,
            initial_time=None,
            fixed={**fixed, **options.fixed},
            bounds=None,
            shared=None,
            group=None,
            rtol=_RTOL,
        )

    def recurrence(self, problem: FitProblem) -> Recurrence:
        """Return the recurrence of a problem, with its prior."""
        prior = build_prior(
            problem.unknowns.entries,
            problem.records.outputs,
            self.options.priors,
            self.learned,
            relative=problem.distribution.relative,
        )
        return Recurrence(prior, location_scale(problem.distribution), problem.noise)

    def start(self, sensors: int, dtype: torch.dtype) -> InformationMemory | DriftMemory:
        """Return the memory of sensors before their first sample."""
        return self.begin(sensors, dtype, KEEP, None)

    def begin(
        self, sensors: int, dtype: torch.dtype, keep: int, outputs: Sequence[str] | None
    ) -> InformationMemory | DriftMemory:
        """Return the memory of sensors that measure some outputs, all by default."""
        if dtype != torch.float64:
            raise UsageError(
                "expected dtype=torch.float64 for the information head, whose sums need its "
                f"digits, got {dtype}"
            )
        if isinstance(keep, bool) or not isinstance(keep, int | Integral) or keep < 2:
            raise UsageError(
                f"expected keep, the number of samples that are kept, as a whole number of at "
                f"least 2, got {keep!r}"
            )
        if self.system.events:
            raise UsageError(
                f"streams start anew at every sample, and cannot tell which events of "
                f"{self.system.name} have happened; use estimate(model, data) with whole records"
            )
        names = self.system.output_names if outputs is None else self._outputs(outputs)
        keep = int(keep)
        return self.stream(sensors, names).begin(min(keep, WINDOW) if self.options.drift else keep)

    def _outputs(self, given: Sequence[str]) -> tuple[str, ...]:
        """Return the outputs that sensors measure, in the order of their values."""
        names = (given,) if isinstance(given, str) else tuple(given)
        for name in names:
            if name not in self.system.output_names:
                raise unknown_name(f"output of {self.system.name}", name, self.system.output_names)
        if not names or len(set(names)) < len(names):
            raise UsageError(
                f"expected outputs as different outputs of {self.system.name}, at least one, got "
                f"{given!r}"
            )
        return names

    def stream(self, sensors: int, outputs: tuple[str, ...]) -> SensorStream | DriftStream:
        """Return the stream of so many sensors, which is made once."""
        key = sensors, outputs
        if key not in self._streams:
            self._check_stream()
            problem = self.problem(sensor_records(self.system, sensors, outputs))
            # One at a time: the streams of many numbers of sensors would fill the memory.
            self._streams = {key: self._stream(problem)}
        return self._streams[key]

    def _stream(self, problem: FitProblem) -> SensorStream | DriftStream:
        recurrence = self.recurrence(problem)
        if self.options.drift:
            return DriftStream(problem, recurrence, self.options.drift, BAND_LEVEL)
        start = None if self.start_model is None else partial(started, self.start_model)
        return SensorStream(problem, recurrence, BAND_LEVEL, start)

    def _check_stream(self) -> None:
        if self.options.initial_state == "first_sample":
            raise UsageError(
                'expected initial_state other than "first_sample" for sensors, whose first sample '
                "is not known beforehand; give the states that are known, or leave it out"
            )

    def step(
        self, memory: Any, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[InformationMemory | DriftMemory, StreamEstimate]:
        """Process one sample of every sensor."""
        stream = self.stream(memory.shape[0], tuple(memory.about.facts["outputs"]))
        wrong = stream.problem.distribution.impossible(observed)
        return stream.step(memory, times, observed.masked_fill(wrong, torch.nan), inputs)

    def estimate(self, records: Records, level: float, *, show: bool) -> Estimates:
        """Estimate for whole records, with bands; see `Estimator.estimate`."""
        problem = self.problem(records)
        recurrence = self.recurrence(problem)
        together = max(1, min(_TOGETHER, _SAMPLES_TOGETHER // max(1, records.times.shape[1])))
        pieces = []
        with tqdm(
            total=len(records), desc="estimate", unit=" trajectories", delay=2.0, disable=not show
        ) as bar:
            for low in range(0, len(records), together):
                rows = torch.arange(low, min(len(records), low + together))
                part = problem.select(rows)
                pieces.append(self._values(part, recurrence, level))
                bar.update(len(rows))
        # One variable after the other, so that pieces and whole never exist both for all of them.
        names = list(pieces[0])
        values = {name: torch.cat([piece.pop(name) for piece in pieces]) for name in names}
        settings = {"level": level, **self.options.settings()}
        noise = noise_settings(problem.distribution)
        return Estimates(
            values,
            coords=unknown_coords(problem, self._entries(problem)),
            settings=settings | noise,
            attrs={
                "band_level": level,
                "distribution": problem.distribution.name,
                "state_at": "sample" if self.options.drift else "start",
            },
            rtol=_RTOL,
        )

    def _entries(self, problem: FitProblem) -> tuple[Unknown, ...]:
        """Return the unknowns of the estimates."""
        return current_entries(problem) if self.options.drift else problem.unknowns.entries

    def _values(
        self, problem: FitProblem, recurrence: Recurrence, level: float
    ) -> dict[str, Tensor]:
        """Return the variables of some records."""
        if self.options.drift:
            found = drifting_track(problem, recurrence, self.options.drift)
            current = replace(problem.unknowns, entries=self._entries(problem))
            return variables(problem, current, recurrence.prior, found, level, at_start=False)
        other = None if self.start_model is None else started(self.start_model, problem)
        found = track(problem, recurrence, other)
        return variables(problem, problem.unknowns, recurrence.prior, found, level, at_start=True)
