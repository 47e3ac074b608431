"""Streams of the information recurrence: equal to whole records, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from tests.warp_phys.user_systems import DrivenOscillator
from warp_phys import WarpPhys
from warp_phys.data_gen import simulate, uniform
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
from warp_phys.systems.errors import SchemaError, UsageError

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


class TestWholeRecords:
    @pytest.mark.parametrize("name", CASES)
    def test_equals_the_estimates_of_records(self, name: str) -> None:
        assert_equal_to_track(CASES[name]())

    def test_an_estimate_depends_on_no_later_sample(self) -> None:
        """Neither does that of a record: its start is linearized at what was seen by then."""
        given = CASES["gaps"]()
        observed = given.records.observed.clone()
        observed[:, 20:] *= 3.0
        later = Case(
            read_records(_like(given.records, observed), given.system, empty=True),
            given.system,
            given.known,
            given.priors,
        )
        torch.testing.assert_close(
            given.tracked().mean[:, :20], later.tracked().mean[:, :20], rtol=1e-12, atol=1e-12
        )

    def test_a_sensor_alone_equals_itself_among_others(self) -> None:
        given = CASES["gaps"]()
        together, _ = streamed(given)
        for row in (0, 1, 3):
            alone, _ = streamed(given.select([row]))
            for one, all_of_them in zip(alone, together, strict=True):
                mean, covariance = estimates_of(one.running)
                other_mean, other_covariance = estimates_of(all_of_them.running)
                torch.testing.assert_close(mean[0], other_mean[row], rtol=1e-9, atol=1e-9)
                torch.testing.assert_close(covariance[0], other_covariance[row], rtol=1e-8, atol=0)

    def test_bands_hold_the_estimate_and_known_values(self) -> None:
        given = CASES["known initial state"]()
        _, estimates = streamed(given)
        now = estimates[-1]
        assert (now.lower < now.parameters).all()
        assert (now.parameters < now.upper).all()
        assert (now.initial_state[:, 0] == 20.0).all()
        assert now.described is not None
        assert now.described.shape == (SENSORS,)
        assert now.status is not None

    def test_a_sensor_that_cannot_be_integrated_leaves_the_others_alone(self) -> None:
        given = CASES["all states"]()
        wild = given.records.observed.clone()
        wild[4, 9:] = 1e300
        other = case("lotka_volterra", _like(given.records, wild))
        plain, _ = streamed(given)
        disturbed, _ = streamed(other)
        rest = torch.tensor([0, 1, 2, 3, 5])
        mean, _ = estimates_of(plain[-1].running)
        same, _ = estimates_of(disturbed[-1].running)
        torch.testing.assert_close(same[rest], mean[rest], rtol=1e-9, atol=1e-9)


def _like(records: Records, observed: Tensor) -> xr.Dataset:
    return xr.Dataset(
        {"observed": (("trajectory", "time", "output"), observed.numpy())},
        coords={"time": records.times[0].numpy(), "output": list(records.outputs)},
    )


class TestBoundedMemory:
    @pytest.mark.parametrize("name", ["all states", "inputs", "huber"])
    def test_memory_is_bounded_and_estimates_stay(self, name: str) -> None:
        keep = 16
        given = CASES[name]()
        full, _ = streamed(given)
        short, _ = streamed(given, keep)
        assert max(len(memory.kept) for memory in short) == keep
        assert short[-1].window is not None
        for sample in range(keep):
            assert torch.equal(short[sample].running.point, full[sample].running.point)
        mean, covariance = estimates_of(full[-1].running)
        found, spread = estimates_of(short[-1].running)
        # A small share of the band of most sensors, whatever is known about them.
        away = (found - mean).abs() / covariance.diagonal(dim1=1, dim2=2).sqrt()
        assert away.median() < 0.2
        assert found.isfinite().all()
        assert (torch.linalg.eigvalsh(spread) > 0.0).all()

    def test_size_does_not_grow(self, tmp_path: Path) -> None:
        given = case("lotka_volterra", lotka_volterra(samples=50))
        memories, _ = streamed(given, 10)
        sizes = []
        for place in (11, 21, 31, 41):
            memories[place].save(tmp_path / f"{place}.safetensors")
            sizes.append((tmp_path / f"{place}.safetensors").stat().st_size)
        assert max(sizes) - min(sizes) < 100  # the number of samples in the header

    def test_estimates_are_nearly_those_of_all_samples(self) -> None:
        """With 40 of 100 samples kept, errors are nearly those with all."""
        priors = {"prey(0)": uniform(10.0, 40.0), "predator(0)": uniform(5.0, 20.0)}
        data = simulate(
            "lotka_volterra",
            n=60,
            times=np.linspace(0.0, 10.0, 100),
            initial_states={"prey": uniform(10.0, 40.0), "predator": uniform(5.0, 20.0)},
            noise=0.02,
            seed=1,
            progress=False,
        )
        given = case("lotka_volterra", data, priors)
        full, _ = streamed(given)
        short, _ = streamed(given, 40)
        mean, covariance = estimates_of(full[-1].running)
        away = (estimates_of(short[-1].running)[0] - mean).abs()
        away = away / covariance.diagonal(dim1=1, dim2=2).sqrt()
        assert away.median() < 0.03
        # Where little was known when samples were dropped, the model was not yet linear.
        assert away.amax(dim=1).quantile(0.95) < 0.5


class TestSavedMemory:
    @pytest.mark.parametrize(
        ("name", "keep", "cut"),
        [("all states", 1024, 13), ("inputs", 8, 13), ("all states", 8, 0)],
    )
    def test_continuations_are_bit_equal(
        self, tmp_path: Path, name: str, keep: int, cut: int
    ) -> None:
        given = CASES[name]()
        stream = given.stream()
        start = stream.begin(keep)
        memories, estimates = run(stream, given.records, start, range(SAMPLES))
        path = tmp_path / "sensors.safetensors"
        (memories[cut - 1] if cut else start).save(path)
        other = given.stream()
        memory = other.begin(1024).restored(path)
        assert memory.keep == keep
        _, again = run(other, given.records, memory, range(cut, SAMPLES))
        for now, before in zip(again, estimates[cut:], strict=True):
            assert torch.equal(now.parameters, before.parameters)
            assert torch.equal(now.lower, before.lower)

    def test_old_memories_can_be_used_again(self) -> None:
        given = CASES["all states"]()
        stream = given.stream()
        memories, estimates = run(stream, given.records, stream.begin(8), range(SAMPLES))
        _, again = run(stream, given.records, memories[5], range(6, SAMPLES))
        assert torch.equal(again[-1].parameters, estimates[-1].parameters)

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            (lambda: CASES["one state"](), "with system lotka_volterra, but those of this model"),
            (
                lambda: case("lotka_volterra", lotka_volterra(), fixed={"alpha": 1.0}),
                r"with unknowns alpha, beta, .* have beta, gamma",
            ),
            (
                lambda: case("lotka_volterra", lotka_volterra(observe=["prey"])),
                "with outputs prey, predator, but those of this model have prey",
            ),
            (
                lambda: case("lotka_volterra", lotka_volterra(), noise_sd="common"),
                "with noise normal, linear, each, but those of this model have normal, linear, com",
            ),
            (
                lambda: case("lotka_volterra", lotka_volterra(), {"beta": (0.01, 0.05)}),
                r"the prior of beta is another one in sensors\.safetensors than in this model",
            ),
            (
                lambda: case("lotka_volterra", lotka_volterra(), {"noise_sd(prey)": (0.1, 2.0)}),
                r"the prior of noise_sd\(prey\) is another one",
            ),
            (lambda: CASES["all states"]().select([0, 1]), "memory of 6 sensors, expected 2"),
        ],
    )
    def test_others_are_refused(self, tmp_path: Path, other: Any, message: str) -> None:
        memory = CASES["all states"]().stream().begin(10)
        memory.save(tmp_path / "sensors.safetensors")
        with pytest.raises(SchemaError, match=message):
            other().stream().begin(10).restored(tmp_path / "sensors.safetensors")

    @pytest.mark.parametrize(
        ("known", "others", "message"),
        [
            ({"fixed": {"alpha": 0.5}}, {"fixed": {"alpha": 0.6}}, "the value of alpha is another"),
            (
                {"initial_state": {"prey": 9.0}},
                {"initial_state": {"prey": 9.1}},
                r"the value of prey\(0\) is another",
            ),
            (
                {"noise_sd": {"prey": 0.5, "predator": 0.1}},
                {"noise_sd": {"prey": 0.5, "predator": 0.2}},
                r"the value of noise_sd\(predator\) is another",
            ),
            ({"drift": {"alpha": 0.1}}, {"drift": {"alpha": 0.2}}, r"with drift alpha: 0\.1, but"),
            (
                {"drift": {"alpha": 0.1}, "priors": {"gamma": (0.2, 0.6)}},
                {"drift": {"alpha": 0.1}},
                "the prior of gamma is another",
            ),
        ],
    )
    def test_models_of_other_knowledge_are_refused(
        self, tmp_path: Path, known: Any, others: Any, message: str
    ) -> None:
        path = tmp_path / "sensors.safetensors"
        memory = WarpPhys("lotka_volterra", **known).init_state(2)
        memory.save(path)
        WarpPhys("lotka_volterra", **known).init_state(2).restored(path)
        with pytest.raises(SchemaError, match=message):
            WarpPhys("lotka_volterra", **others).init_state(2).restored(path)

    @pytest.mark.parametrize("keep", [1, 0, True, 2.5])
    def test_keep_must_be_a_number(self, keep: Any) -> None:
        with pytest.raises(UsageError, match="expected keep, the number of samples"):
            WarpPhys("lotka_volterra").init_state(2, keep=keep)
