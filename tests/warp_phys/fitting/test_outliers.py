"""One gross outlier in a record raises a bit of `misfit`, and noise does not."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

import warp_phys as wp
from tests.warp_phys.fitting.fit_records import OSCILLATOR, fit, oscillations
from warp_phys.data_gen import simulate
from warp_phys.fitting.options import FitOptions
from warp_phys.fitting.outliers.candidates import SUSPECT, suspects_of
from warp_phys.fitting.outliers.significance import freedom_of, squares_of
from warp_phys.likelihood.problem import NoiseKind
from warp_phys.records.records import read_records
from warp_phys.systems import LogisticGrowth

FAR = 8


def growth(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    times = np.linspace(0.0, 20.0, count)
    noise = 0.5 * np.random.default_rng(0).standard_normal(count)
    return times, 50.0 / (1.0 + 49.0 * np.exp(-0.4 * times)) + noise


def record(times: Any, values: Any) -> xr.Dataset:
    return xr.Dataset(
        {"observed": (("trajectory", "time", "output"), np.reshape(values, (1, -1, 1)))},
        coords={"time": times, "output": ["population"]},
    )


@pytest.mark.parametrize(
    ("count", "sample", "factor"),
    [
        (401, 133, 1000.0),
        (101, 33, 1000.0),
        (21, 7, 10.0),
        (21, 7, 5.0),
        (21, 20, 10.0),
        (21, 1, 100.0),
        (51, 50, 0.01),
        (12, 5, 1000.0),
    ],
)
def test_a_slipped_unit(count: int, sample: int, factor: float) -> None:
    times, values = growth(count)
    values[sample] *= factor
    fitted = fit(LogisticGrowth(), record(times, values))
    assert fitted["misfit"].item() & FAR
    assert fitted["outlier_sample"].item() == sample
    words = fitted["outlier"].item()
    assert words.startswith(f"population at time {times[sample]:g} day (sample {sample}) is ")
    text = wp.summary(fitted, 0)
    assert words in text
    assert 'loss="huber"' in text


@pytest.mark.parametrize("sample", [0, 7, 20])
def test_a_sentinel(sample: int) -> None:
    times, values = growth(21)
    values[sample] = -9999.0
    fitted = fit(LogisticGrowth(), record(times, values))
    assert (fitted["misfit"].item() & FAR, fitted["outlier_sample"].item()) == (FAR, sample)


def test_two_values_hide_each_other() -> None:
    times, values = growth(21)
    values[[6, 14]] *= [20.0, -20.0]
    fitted = fit(LogisticGrowth(), record(times, values))
    assert fitted["misfit"].item() & FAR
    assert fitted["outlier_sample"].item() in (6, 14)


def test_a_value_of_logarithms() -> None:
    data = simulate(
        "logistic_growth",
        4,
        np.linspace(0.0, 20.0, 25),
        noise=0.1,
        distribution="lognormal",
        seed=1,
    )
    data["observed"][2, 11] *= 1000.0
    fitted = fit(LogisticGrowth(), data, distribution="lognormal")
    assert (fitted["misfit"].values & FAR).tolist() == [0, 0, FAR, 0]
    assert fitted["outlier_sample"].values.tolist() == [-1, -1, 11, -1]


@pytest.mark.parametrize(
    "options",
    [{}, {"noise_sd": "common"}, {"noise_sd": {"position": 0.02, "velocity": 0.7}}],
)
def test_a_value_of_one_of_two_outputs(options: dict[str, Any]) -> None:
    data = oscillations(3)
    data["observed"][1, 9, 1] *= 100.0
    fitted = fit(OSCILLATOR, data, **options)
    assert (fitted["misfit"].values & FAR).tolist() == [0, FAR, 0]
    assert fitted["outlier"].values[1].startswith("velocity at time 0.3 s (sample 9)")


def test_among_trajectories_that_share_a_parameter() -> None:
    data = oscillations(3)
    data["observed"][1, 9, 0] += 10.0
    fitted = fit(OSCILLATOR, data, shared=["damping_rate"])
    assert (fitted["misfit"].values & FAR).tolist() == [0, FAR, 0]
    assert fitted["outlier_sample"].values.tolist() == [-1, 9, -1]


def test_between_doses() -> None:
    data = simulate("one_compartment_oral", 2, np.linspace(0.0, 24.0, 25), noise=0.03, seed=3)
    data["dose_amount"] = (("trajectory", "dose"), np.full((2, 1), 0.0))
    data["dose_time"] = (("trajectory", "dose"), np.full((2, 1), 12.3))
    data = data.assign_coords(dose_state=("dose", ["gut"]), dose_unit=("dose", ["mg"]))
    data["observed"][1, 14] *= 50.0
    fitted = wp.fit("one_compartment_oral", data, progress=False)
    assert (fitted["misfit"].values & FAR).tolist() == [0, FAR]
    assert fitted["outlier_sample"].values.tolist() == [-1, 14]


def test_a_loss_for_outliers_is_not_warned_of_them() -> None:
    times, values = growth(101)
    values[33] *= 1000.0
    fitted = fit(LogisticGrowth(), record(times, values), loss="huber")
    assert not fitted["misfit"].item() & FAR
    assert fitted["outlier"].item() == ""


@pytest.mark.parametrize(
    ("count", "distribution"), [(8, "normal"), (8, "lognormal"), (30, "normal")]
)
def test_noise_raises_no_alarm(count: int, distribution: Any) -> None:
    # Less than one in 10,000 was measured: 0 of 20,000 for each of these.
    data = simulate(
        "logistic_growth",
        1000,
        np.linspace(0.0, 20.0, count),
        noise=0.05,
        distribution=distribution,
        seed=7,
        progress=False,
    )
    fitted = fit(LogisticGrowth(), data, distribution=distribution, starts=1)
    assert not (fitted["misfit"] & FAR).any()


def test_the_outlier_is_kept_in_files(tmp_path: Path) -> None:
    times, values = growth(21)
    values[3] *= 1000.0
    fitted = fit(LogisticGrowth(), record(times, values))
    wp.save(fitted, tmp_path / "fit.nc")
    assert wp.load(tmp_path / "fit.nc")["outlier"].item() == fitted["outlier"].item()


@pytest.mark.parametrize("noise", ["common", "each", "known"])
def test_suspects_are_those_of_the_f_distribution(noise: NoiseKind) -> None:
    """Every value's tail probability, one by one, finds the same values."""
    defaults = {name: option.default for name, option in signature(wp.fit).parameters.items()}
    options = FitOptions.from_arguments(defaults)
    records = read_records(oscillations(n=40), OSCILLATOR)
    problem = replace(options.problem(OSCILLATOR, records), noise=noise)
    shape = problem.records.observed.shape
    scaled = torch.from_numpy(np.random.default_rng(0).standard_t(4, size=shape))
    scaled[torch.from_numpy(np.random.default_rng(1).random(shape) < 0.1)] = torch.nan
    usable = torch.ones(len(problem), dtype=torch.bool)
    usable[::7] = False
    found = suspects_of(problem, scaled, usable)
    known = scaled.isfinite()
    freedom = freedom_of(problem, known) - 1.0
    squares = squares_of(problem, scaled)
    chance = torch.full(shape, torch.inf, dtype=torch.float64)
    for row, sample, output in known.nonzero().tolist():
        square = float(scaled[row, sample, output] ** 2)
        variance = (float(squares[row, output]) - square) / float(freedom[row, output])
        variance = max(variance, 1.0) if noise == "known" else variance
        tail = stats.f.sf(square / variance, 1, float(freedom[row, output]))
        chance[row, sample, output] = tail * float(known[row].sum())
    least = chance.flatten(1).min(dim=1)
    expected = (usable & (least.values < SUSPECT)).nonzero()[:, 0]
    assert 5 < len(expected) < len(usable) - 5
    assert torch.equal(found.rows, expected)
    torch.testing.assert_close(found.chance[:, 0], least.values[expected], rtol=1e-9, atol=0.0)
    assert torch.equal(found.place[:, 0], least.indices[expected])
