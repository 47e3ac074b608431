"""The test of changes on simulated sums of squares of a model without unknowns."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from warp_phys.likelihood.level_posterior import level_freedom, likely_log_level
from warp_phys.models.information.innovations import Innovations

RECORDS, SAMPLES = 4000, 60


def run(values: Tensor, unit: float = 1.0) -> Innovations:
    """Return the memory after values (N, T, O), NaN where missing; every suspicion is confirmed.

    The prior of the level is centered at the unit.
    """
    count, _, outputs = values.shape
    memory = Innovations.empty(count, outputs)
    squares = torch.zeros(count, outputs, dtype=torch.float64)
    number, spread = squares.clone(), torch.full((outputs,), 2.0, dtype=torch.float64)
    for value in values.unbind(dim=1):
        squares = squares + value.square().nan_to_num(0.0)
        number = number + value.isfinite()
        level = likely_log_level(squares, number, torch.full_like(squares, np.log(unit)), spread)
        freedom = level_freedom(squares, level, spread)
        memory = memory.added(squares, number, level, freedom, fewest=4)
        memory = memory.relinearized(squares, level, freedom, fewest=4)
    return memory


def noise(outputs: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(RECORDS, SAMPLES, outputs, dtype=torch.float64, generator=generator)


def test_normal_noise_sets_few_alarms() -> None:
    for outputs in (1, 2):
        assert float(run(noise(outputs)).alarm.double().mean()) <= 0.02
    gaps = noise(2, seed=1)
    gaps[torch.rand(gaps.shape, generator=torch.Generator().manual_seed(2)) < 0.3] = torch.nan
    assert float(run(gaps).alarm.double().mean()) <= 0.02


def test_the_unit_of_the_values_does_not_matter() -> None:
    values = noise()[:500]
    values[:, 30:] *= 2.0
    one = run(values)
    other = run(7.0 * values, unit=7.0)
    assert torch.equal(one.alarm, other.alarm)
    assert 0.05 < float(one.alarm.double().mean()) < 0.95


def test_a_change_is_noticed_when_it_begins() -> None:
    values = noise()[:500]
    values[:, 40:, 0] += 5.0
    found = run(values)
    assert float(found.alarm.double().mean()) > 0.99
    began = SAMPLES - 1 - found.since[found.alarm]
    assert 38 <= float(np.median(began)) <= 42


def test_samples_without_values_are_not_tested() -> None:
    values = noise()[:10]
    values[:, 20:] = torch.nan
    assert torch.equal(run(values).tested, run(values[:, :20]).tested)


def test_records_are_independent() -> None:
    values = noise()[:8]
    values[3] *= 1e6
    values[4, 10:] = torch.nan
    whole = run(values)
    for row in range(8):
        alone = run(values[row : row + 1])
        for name, part in vars(alone).items():
            assert torch.equal(part[0], getattr(whole, name)[row]), name
