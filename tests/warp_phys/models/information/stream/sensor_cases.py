"""Records of sensors for the tests of streams, and both ways to estimate from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from tests.warp_phys.user_systems import DrivenOscillator
from warp_phys.data_gen import simulate
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.stating.state_problem import state_problem
from warp_phys.models.estimator import StreamEstimate
from warp_phys.models.information.prior.prior import build_prior
from warp_phys.models.information.records_estimate import Track, track
from warp_phys.models.information.running import Recurrence
from warp_phys.models.information.state import Running
from warp_phys.models.information.stream.memory import InformationMemory
from warp_phys.models.information.stream.stream import SensorStream, sensor_records
from warp_phys.records.records import Records, read_records
from warp_phys.systems import System, get_system

SENSORS, SAMPLES = 6, 30


@dataclass(frozen=True)
class Case:
    """Records of a system, and what is known about them.

    Attributes:
        records: N records.
        system: The system.
        known: Arguments of `state_problem`.
        priors: Priors by unknown.
    """

    records: Records
    system: System
    known: dict[str, Any]
    priors: dict[str, Any]

    def problem(self, records: Records) -> FitProblem:
        usual = {
            "distribution": "normal",
            "loss": "linear",
            "noise_sd": "each",
            "initial_state": "auto",
            "initial_time": None,
            "fixed": None,
            "bounds": None,
            "shared": None,
            "group": None,
            "rtol": 1e-7,
        }
        return state_problem(self.system, records, **(usual | self.known))

    def recurrence(self, problem: FitProblem) -> Recurrence:
        entries, outputs = problem.unknowns.entries, problem.records.outputs
        relative = problem.distribution.relative
        prior = build_prior(entries, outputs, self.priors, None, relative=relative)
        return Recurrence(prior, problem.distribution, problem.noise)

    def tracked(self) -> Track:
        problem = self.problem(self.records)
        return track(problem, self.recurrence(problem))

    def stream(self) -> SensorStream:
        records = self.records
        problem = self.problem(sensor_records(self.system, len(records), records.outputs))
        return SensorStream(problem, self.recurrence(problem), 0.9)

    def select(self, rows: Sequence[int]) -> Case:
        records = self.records.select(torch.tensor(rows))
        return Case(records, self.system, self.known, self.priors)


def case(
    name: str | System,
    data: xr.Dataset,
    priors: dict[str, Any] | None = None,
    **known: Any,
) -> Case:
    system = get_system(name) if isinstance(name, str) else name
    return Case(read_records(data, system, empty=True), system, known, priors or {})


def simulated(name: str | System, end: float, samples: int = SAMPLES, **how: Any) -> xr.Dataset:
    usual = {"noise": 0.02, "seed": 3, "progress": False}
    return simulate(name, n=SENSORS, times=np.linspace(0.0, end, samples), **(usual | how))


def run(
    stream: SensorStream, records: Records, memory: InformationMemory, samples: range
) -> tuple[list[InformationMemory], list[StreamEstimate]]:
    memories, estimates = [], []
    for sample in samples:
        memory, now = stream.step(
            memory,
            records.times[:, sample],
            records.observed[:, sample],
            records.inputs[:, sample],
        )
        memories.append(memory)
        estimates.append(now)
    return memories, estimates


def streamed(given: Case, keep: int = 1024) -> tuple[list[InformationMemory], list[StreamEstimate]]:
    stream = given.stream()
    return run(stream, given.records, stream.begin(keep), range(given.records.times.shape[1]))


def estimates_of(state: Running) -> tuple[Tensor, Tensor]:
    delta, covariance = state.correction.applied(state.belief.delta, state.belief.covariance)
    return state.point + delta, covariance


def assert_equal_to_track(given: Case, tolerance: float = 1e-3) -> None:
    """Differences are those of the integration between samples, in units of the spread."""
    found, (memories, _) = given.tracked(), streamed(given)
    for sample, memory in enumerate(memories):
        mean, covariance = estimates_of(memory.running)
        spread = found.covariance[:, sample].diagonal(dim1=1, dim2=2).sqrt()
        assert ((mean - found.mean[:, sample]) / spread).abs().max() < tolerance, sample
        ratio = covariance.diagonal(dim1=1, dim2=2).sqrt() / spread
        torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=tolerance, atol=0.0)
        level = memory.running.belief.log_level
        torch.testing.assert_close(
            level, found.log_level[:, sample], rtol=0.0, atol=tolerance, equal_nan=True
        )
        assert torch.equal(memory.running.innovations.alarm, ~found.described[:, sample])


def lotka_volterra(**how: Any) -> xr.Dataset:
    return simulated("lotka_volterra", 10.0, **how)


def with_gaps(data: xr.Dataset) -> xr.Dataset:
    """Some values are missing, one sensor is silent at first, and one always."""
    values = data["observed"].values.copy()
    values[np.random.default_rng(0).random(values.shape) < 0.3] = np.nan
    values[0, 1:4], values[1, :12], values[2] = np.nan, np.nan, np.nan
    return data.assign(observed=(data["observed"].dims, values))


def own_starts(data: xr.Dataset) -> xr.Dataset:
    """Every sensor has its own clock."""
    times = data["time"].values + 1.7 * np.arange(SENSORS)[:, None]
    values = ("trajectory", "sample", "output"), data["observed"].values
    own = xr.Dataset({"observed": values}, coords={"output": data["output"].values})
    return own.assign_coords(time=(("trajectory", "sample"), times))


def driven() -> Case:
    times = np.linspace(0.0, 10.0, SAMPLES)
    data = simulated(DrivenOscillator(), 10.0, inputs={"force": np.cos(2.0 * times)})
    return case(DrivenOscillator(), data)


CASES = {
    "all states": lambda: case("lotka_volterra", lotka_volterra()),
    "one state": lambda: case("pendulum", simulated("pendulum", 5.0, observe=["angle"])),
    "closed form": lambda: case("damped_oscillator", simulated("damped_oscillator", 1.0)),
    "implied initial state": lambda: case("sine", simulated("sine", 1.0)),
    "inputs": driven,
    "log-normal": lambda: case(
        "lotka_volterra",
        lotka_volterra(noise=0.1, distribution="lognormal"),
        distribution="lognormal",
    ),
    "huber": lambda: case("lotka_volterra", lotka_volterra(), loss="huber"),
    "common level": lambda: case("lotka_volterra", lotka_volterra(), noise_sd="common"),
    "known level": lambda: case(
        "lotka_volterra",
        lotka_volterra(noise={"prey": 0.5, "predator": 0.3}),
        noise_sd={"prey": 0.5, "predator": 0.3},
    ),
    "known initial state": lambda: case(
        "lotka_volterra",
        lotka_volterra(initial_states={"prey": 20.0, "predator": 10.0}).drop_vars(
            "known_initial_state", errors="ignore"
        ),
        initial_state={"prey": 20.0},
    ),
    "gaps": lambda: case("lotka_volterra", with_gaps(lotka_volterra())),
    "own starts": lambda: case("lotka_volterra", own_starts(with_gaps(lotka_volterra()))),
}
