"""The estimator of the information head: states the problem, tracks it, labels the results."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.stating.state_problem import state_problem
from warp_phys.models.estimator import Estimates, Estimator, StreamEstimate
from warp_phys.models.information.options import InformationOptions
from warp_phys.models.information.physical import bands, t_quantile
from warp_phys.models.information.prior import Moments, Prior, build_prior
from warp_phys.models.information.records_estimate import Track, track
from warp_phys.models.information.running import Recurrence
from warp_phys.models.information.started import started
from warp_phys.models.information.stream import SensorStream, sensor_records
from warp_phys.models.information.stream_memory import InformationMemory
from warp_phys.models.streaming import BAND_LEVEL
from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.location_scale import LocationScale
from warp_phys.systems.noise.registry import noise_settings

# Records in one pass: enough that the cost of a call does not matter, few enough for the cache.
_TOGETHER = 1000
_SAMPLES_TOGETHER = 400_000
# Standard deviations of the prior beyond which an estimate is out of range.
_FAR = 5.0
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
        self._streams: dict[tuple[int, tuple[str, ...]], SensorStream] = {}

    def problem(self, records: Records) -> FitProblem:
        """Return the likelihood problem of records."""
        options, learned = self.options, self.learned
        noise = "normal" if learned is None else learned.noise
        fixed = {} if learned is None else learned.fixed
        states = options.initial_state
        if learned is not None and learned.states and states == "auto":
            states = records.known_states or learned.states
        return state_problem(
            self.system,
            records,
            distribution=noise if options.distribution is None else options.distribution,
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
        return Recurrence(prior, _noise_of(problem), problem.noise)

    def start(self, sensors: int, dtype: torch.dtype) -> InformationMemory:
        """Return the memory of sensors before their first sample."""
        return self.begin(sensors, dtype, KEEP, None)

    def begin(
        self, sensors: int, dtype: torch.dtype, keep: int, outputs: Sequence[str] | None
    ) -> InformationMemory:
        """Return the memory of sensors that measure some outputs, all by default."""
        if dtype != torch.float64:
            raise UsageError(
                "expected dtype=torch.float64 for the information head, whose sums need its "
                f"digits, got {dtype}"
            )
        names = self.system.output_names if outputs is None else tuple(outputs)
        for name in names:
            if name not in self.system.output_names:
                raise unknown_name(f"output of {self.system.name}", name, self.system.output_names)
        return self.stream(sensors, names).begin(keep)

    def stream(self, sensors: int, outputs: tuple[str, ...]) -> SensorStream:
        """Return the stream of so many sensors, which is made once."""
        key = sensors, outputs
        if key not in self._streams:
            self._check_stream()
            problem = self.problem(sensor_records(self.system, sensors, outputs))
            start = None if self.start_model is None else partial(started, self.start_model)
            # One at a time: the streams of many numbers of sensors would fill the memory.
            self._streams = {
                key: SensorStream(problem, self.recurrence(problem), BAND_LEVEL, start)
            }
        return self._streams[key]

    def _check_stream(self) -> None:
        if self.options.drift:
            raise UsageError(
                "model.step does not know drift yet; estimate the record so far with estimate(...)"
            )
        if self.options.initial_state == "first_sample":
            raise UsageError(
                'expected initial_state other than "first_sample" for sensors, whose first sample '
                "is not known beforehand; give the states that are known, or leave it out"
            )

    def step(
        self, memory: InformationMemory, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[InformationMemory, StreamEstimate]:
        """Process one sample of every sensor."""
        stream = self.stream(memory.shape[0], tuple(memory.about["outputs"]))
        return stream.step(memory, times, observed, inputs)

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
                other = None if self.start_model is None else started(self.start_model, part)
                found = track(part, recurrence, other)
                pieces.append(_values(part, recurrence.prior, found, level))
                bar.update(len(rows))
        values = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
        settings = {"level": level, **self.options.settings()}
        noise = noise_settings(problem.distribution)
        return Estimates(
            values,
            coords=_unknown_coords(problem),
            settings=settings | noise,
            attrs={"band_level": level, "distribution": problem.distribution.name},
        )


def _noise_of(problem: FitProblem) -> LocationScale:
    noise = problem.distribution
    if not isinstance(noise, LocationScale):
        raise UsageError(f"the information head cannot take {noise.label} noise; use fit(...)")
    return noise


def _values(problem: FitProblem, prior: Prior, found: Track, level: float) -> dict[str, Tensor]:
    """Return the variables of some records; values after the last sample of a record are NaN."""
    variance = found.covariance.diagonal(dim1=2, dim2=3)
    wide = t_quantile(found.freedom, level)
    values = bands(problem.system, problem.unknowns, found.mean, wide * variance.sqrt())
    if problem.noise != "known":
        values["noise_sd"] = found.log_level.exp()
    elif problem.weights is not None:
        values["noise_sd"] = problem.weights.rsqrt()
    values["predicted"] = found.predicted
    mean, covariance = _joint(problem, found, wide / t_quantile(torch.tensor([torch.inf]), level))
    values |= {"unknowns": mean, "unknowns_covariance": covariance}
    for array in values.values():
        array[~problem.records.valid] = torch.nan
    last = (problem.counts - 1).clamp_min(0)
    rows = torch.arange(len(problem))
    times = problem.records.times[rows, found.since.clamp_min(0)]
    return values | {
        "described": found.described.to(torch.int8),
        "changed_at": torch.where(found.since >= 0, times, torch.nan),
        "estimate_status": found.status,
        "out_of_range": _out_of_range(prior, found, rows, last),
    }


def _joint(problem: FitProblem, found: Track, widening: Tensor) -> tuple[Tensor, Tensor]:
    """Return unknowns (N, T, Q) and their covariance, with the noise levels where unknown.

    Covariances are widened so that normal quantiles of them are the bands, which are those of
    Student's t distribution.
    """
    covariance = found.covariance * widening.unsqueeze(-1) * widening.unsqueeze(-2)
    if problem.noise == "known":
        return found.mean.clone(), covariance
    mean = torch.cat([found.mean, found.log_level], dim=2)
    size, unknowns = mean.shape[2], found.mean.shape[2]
    joint = covariance.new_zeros(*mean.shape, size)
    joint[..., :unknowns, :unknowns] = covariance
    variance = 0.5 / found.level_freedom
    if problem.noise == "common":
        # One level: its entries move together.
        joint[..., unknowns:, unknowns:] = variance[..., :1, None]
    else:
        joint[..., unknowns:, unknowns:] = torch.diag_embed(variance)
    return mean, joint


def _out_of_range(prior: Prior, found: Track, rows: Tensor, last: Tensor) -> Tensor:
    """Return the bits of `OUT_OF_RANGE` (N,) at the last sample of each record."""
    away = (found.mean[rows, last] - prior.mean).abs() / prior.covariance().diagonal().sqrt()
    far = (away > _FAR).any(dim=1)
    misfit = ~found.described[rows, last]
    failed = found.status[rows, last] & 1 != 0
    return 16 * far.long() + 32 * misfit.long() + 64 * failed.long()


def _unknown_coords(problem: FitProblem) -> dict[str, xr.Variable]:
    entries = problem.unknowns.entries
    names, kinds = [entry.name for entry in entries], [str(entry.kind) for entry in entries]
    if problem.noise != "known":
        names += problem.records.outputs
        kinds += ["noise_sd"] * len(problem.records.outputs)
    label: Any = np.array(names, dtype=str)
    kind: Any = np.array(kinds, dtype=str)
    return {
        "unknown": xr.Variable("unknown", label, {"long_name": "unknown"}),
        "unknown_kind": xr.Variable("unknown", kind, {"long_name": "what the unknown is"}),
    }
