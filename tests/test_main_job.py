"""The main job: what the package promises of it; that of trained heads in `make check-long`."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import LotkaVolterra

ROOT = Path(__file__).parents[1]
# Half the width of a normal distribution's central interval of this probability is one sd.
ONE_SD = math.erf(1.0 / math.sqrt(2.0))


@pytest.fixture(scope="module")
def hudson_bay() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples" / "hudson_bay.py"))


@pytest.fixture(scope="module")
def bands() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "lotka_volterra_bands.py"))


@pytest.fixture(scope="module")
def records(hudson_bay: dict[str, Any], bands: dict[str, Any]) -> xr.Dataset:
    return bands["simulate_records"](hudson_bay["PRIORS"], bands["RECORDS"], seed=1)


@pytest.fixture(scope="module", params=[0, 1, 2])
def model(
    request: pytest.FixtureRequest, bands: dict[str, Any], records: xr.Dataset
) -> wp.WarpPhys:
    chosen = wp.WarpPhys(LotkaVolterra(), head="direct")
    steps, rate = bands["STEPS"], bands["LEARNING_RATE"]
    wp.train(chosen, records, steps=steps, learning_rate=rate, seed=request.param, progress=False)
    return chosen


def test_without_training_the_estimates_are_the_published_posterior(
    hudson_bay: dict[str, Any],
) -> None:
    model = wp.WarpPhys(LotkaVolterra(), priors=hudson_bay["PRIORS"], distribution="lognormal")
    record = wp.read_trajectories(hudson_bay["RECORD"])
    last = wp.estimate(model, record, level=ONE_SD).isel(trajectory=0, time=-1)
    for kind, published in (
        ("parameters", hudson_bay["PUBLISHED"]),
        ("initial_state", hudson_bay["PUBLISHED_STATES"]),
    ):
        for name, (mean, sd) in published.items():
            at = last.sel({last[kind].dims[-1]: name})
            assert abs(float(at[kind]) - mean) < 0.4 * sd, name
            own = 0.5 * float(at[f"{kind}_upper"] - at[f"{kind}_lower"])
            assert 0.75 < own / sd < 1.25, name


@pytest.mark.long
def test_trained_estimates_lie_within_a_published_standard_deviation(
    model: wp.WarpPhys, hudson_bay: dict[str, Any]
) -> None:
    found = wp.estimate(model, wp.read_trajectories(hudson_bay["RECORD"]))
    for name, (mean, sd) in hudson_bay["PUBLISHED"].items():
        value = float(found["parameters"].isel(trajectory=0, time=-1).sel(parameter=name))
        assert abs(value - mean) < sd, name


@pytest.mark.long
def test_trained_bands_cover_and_the_error_falls_with_context(
    model: wp.WarpPhys, hudson_bay: dict[str, Any], bands: dict[str, Any]
) -> None:
    test = bands["simulate_records"](hudson_bay["PRIORS"], 2_000, seed=2)
    test = test.isel(trajectory=np.flatnonzero(test["status"].values == 0))
    found, truth = wp.estimate(model, test, progress=False), test["true_parameters"]
    inside = (found["parameters_lower"] <= truth) & (truth <= found["parameters_upper"])
    at = {"time": [4, 9, 14, 20]}
    coverage = inside.isel(at).mean("trajectory")
    assert ((coverage > 0.87) & (coverage < 0.93)).all()
    error = (np.log(found["parameters"] / truth) ** 2).isel(at).mean("trajectory")
    assert (error.diff("time") < 0.0).all()


@pytest.mark.long
def test_a_pendulums_length_from_its_angle_alone() -> None:
    options: dict[str, Any] = {
        "times": np.linspace(0.0, 5.0, 51),
        "noise": 0.02,
        "observe": ["angle"],
    }
    chosen = wp.WarpPhys("pendulum", head="direct")
    wp.train(chosen, simulate("pendulum", n=20_000, seed=1, **options), steps=2_500, progress=False)
    test = simulate("pendulum", n=1_000, seed=2, **options)
    found = wp.estimate(chosen, test, progress=False)["parameters"].isel(time=-1)
    error = abs(found / test["true_parameters"] - 1.0).sel(parameter="length")
    assert float(error.median()) < 0.02


@pytest.mark.long
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_identifiable_combinations_of_a_mass_spring_damper(noise: float) -> None:
    options: dict[str, Any] = {"times": np.linspace(0.0, 1.0, 65), "noise": noise}
    name = "mass_spring_damper"
    chosen = wp.WarpPhys(name, head="direct")
    wp.train(chosen, simulate(name, n=20_000, seed=1, **options), steps=2_000, progress=False)
    test = simulate(name, n=1_000, seed=2, **options)
    found = wp.estimate(chosen, test, progress=False)["parameters"].isel(time=-1).values
    truth = test["true_parameters"].values
    for numerator in (1, 2):
        ratio = found[:, numerator] / found[:, 0]
        error = abs(ratio / (truth[:, numerator] / truth[:, 0]) - 1.0)
        assert np.median(error) < 0.02, chosen.system.parameter_names[numerator]
