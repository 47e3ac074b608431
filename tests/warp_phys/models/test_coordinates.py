"""Coordinates: physical values as standardized real numbers, and back."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.warp_phys.user_systems import Saturation
from warp_phys.models.coordinates import Coordinate, Coordinates, Physical, build_coordinates
from warp_phys.systems import LotkaVolterra, Pendulum, System
from warp_phys.systems.model.supports import contains


def drawn(system: System, count: int = 50, noise: tuple[float, float] = (0.1, 0.3)) -> Physical:
    """Return values drawn from the ranges of a system, and noise levels for its outputs."""
    generator = torch.Generator().manual_seed(0)

    def uniform(pair: object) -> torch.Tensor:
        low, high = pair if isinstance(pair, tuple) else (pair, pair)
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    parameters = [uniform(p.range if p.fixed is None else p.fixed) for p in system.parameters]
    states = [uniform(system.default_initial_state[name]) for name in system.state_names]
    levels = [uniform(noise) for _ in system.outputs]
    return Physical(*(torch.stack(part, dim=1) for part in (parameters, states, levels)))


def built(system: System, physical: Physical) -> Coordinates:
    return build_coordinates(system, physical, system.output_names)


def names(coordinates: Coordinates) -> list[tuple[str, str]]:
    return [(entry.kind, entry.name) for entry in coordinates.entries]


def assert_close(one: Physical, other: Physical) -> None:
    for field in dataclasses.fields(Physical):
        torch.testing.assert_close(
            getattr(one, field.name), getattr(other, field.name), rtol=1e-12, atol=1e-12
        )


class TestChoice:
    def test_what_varies_is_unknown_and_what_is_fixed_is_not(self) -> None:
        coordinates = built(Saturation(), drawn(Saturation()))
        assert names(coordinates) == [
            *(("parameter", name) for name in ("rate", "share", "offset", "depth")),
            ("initial_state", "amount"),
            ("noise_sd", "logarithm"),
        ]
        assert coordinates.constant_parameters[4] == 3.0
        assert len(coordinates) == 6
        assert coordinates.positions("initial_state") == [4]

    def test_what_is_the_same_everywhere_is_known(self) -> None:
        physical = drawn(LotkaVolterra(), noise=(0.25, 0.25))
        physical.parameters[:, 2] = 0.8
        physical.initial_state[:, 0] = 30.0
        coordinates = built(LotkaVolterra(), physical)
        assert ("parameter", "gamma") not in names(coordinates)
        assert ("initial_state", "prey") not in names(coordinates)
        assert coordinates.positions("noise_sd") == []
        decoded = coordinates.decode(torch.zeros(3, len(coordinates), dtype=torch.float64))
        assert (decoded.parameters[:, 2] == 0.8).all()
        assert (decoded.initial_state[:, 0] == 30.0).all()
        assert (decoded.noise_sd == 0.25).all()

    @pytest.mark.parametrize("level", [0.0, 0.25])
    def test_a_noise_level_is_unknown_only_where_every_record_has_one(self, level: float) -> None:
        physical = drawn(LotkaVolterra())
        physical.noise_sd[0, 1] = level
        found = names(built(LotkaVolterra(), physical))
        assert ("noise_sd", "prey") in found
        assert (("noise_sd", "predator") in found) == (level > 0)

    def test_round_off_is_no_variation(self) -> None:
        physical = drawn(Pendulum())
        physical.initial_state[:, 1] = 1e6 * (1 + 1e-16 * torch.arange(50))
        assert ("initial_state", "angular_velocity") not in names(built(Pendulum(), physical))

    def test_a_freed_parameter_is_unknown(self) -> None:
        system = Pendulum(g=(9.0, 10.0))
        assert ("parameter", "g") in names(built(system, drawn(system)))


class TestMapping:
    @pytest.mark.parametrize("system", [Saturation(), LotkaVolterra(), Pendulum()])
    def test_training_values_are_standard(self, system: System) -> None:
        physical = drawn(system)
        coordinates = built(system, physical)
        line = coordinates.encode(physical)
        torch.testing.assert_close(line.median(dim=0).values, torch.zeros(line.shape[1]).double())
        torch.testing.assert_close(line.std(dim=0), torch.ones(line.shape[1]).double())

    @pytest.mark.parametrize("system", [Saturation(), LotkaVolterra(), Pendulum()])
    def test_there_and_back(self, system: System) -> None:
        physical = drawn(system)
        coordinates = built(system, physical)
        assert_close(coordinates.decode(coordinates.encode(physical)), physical)

    @given(hnp.arrays(np.float64, (2, 3, 6), elements=st.floats(-8, 8)))
    def test_every_real_number_lands_on_its_support(self, values: np.ndarray) -> None:
        system = Saturation()
        coordinates = built(system, drawn(system))
        line = torch.as_tensor(values)
        physical = coordinates.decode(line)
        assert physical.parameters.shape == (2, 3, 5)
        for place, parameter in enumerate(system.parameters):
            assert contains(physical.parameters[..., place], parameter.support).all()
        assert contains(physical.initial_state[..., 0], system.states[0].support).all()
        assert (physical.noise_sd > 0).all()
        torch.testing.assert_close(coordinates.encode(physical), line, rtol=1e-6, atol=1e-6)

    def test_the_dtype_is_that_of_the_coordinates(self) -> None:
        coordinates = built(Saturation(), drawn(Saturation()))
        physical = coordinates.decode(torch.zeros(4, 6, dtype=torch.float32))
        assert physical.parameters.dtype == torch.float32

    def test_gradients(self) -> None:
        coordinates = built(Saturation(), drawn(Saturation(), 5))
        line = torch.linspace(-1, 1, 6, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda values: tuple(vars(coordinates.decode(values)).values()), (line,)
        )

    def test_entries_survive_json(self) -> None:
        coordinates = built(Saturation(), drawn(Saturation()))
        text = json.dumps(coordinates.to_json())
        assert tuple(Coordinate.from_json(e) for e in json.loads(text)) == coordinates.entries
