"""Memory of streams: bounded, saved and restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.warp_phys.models.information.stream.sensor_cases import (
    CASES,
    SAMPLES,
    case,
    estimates_of,
    lotka_volterra,
    run,
    streamed,
)
from warp_phys import WarpPhys
from warp_phys.data_gen import simulate, uniform
from warp_phys.systems.errors import SchemaError, UsageError


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
