"""Profile intervals equal to SciPy's to three digits, and how often they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import warp_phys as wp
from benchmarks._profile_models import (
    STAGE_TIMES,
    STAGES,
    MichaelisMenten,
    Reference,
    record,
    stage_system,
)
from benchmarks.profile_intervals import (
    DOSE,
    STAGE_TRUTH,
    dose_records,
    stage_records,
)


def ends(fitted: xr.Dataset, name: str) -> list[float]:
    row = fitted.sel(parameter=name).isel(trajectory=0)
    return [float(row["parameters_lower"]), float(row["parameters_upper"])]


@pytest.fixture(scope="module")
def marine() -> xr.Dataset:
    data = record(STAGE_TIMES, STAGES, [f"n{i}" for i in range(1, 9)], "1")
    system = stage_system(8)()
    return wp.fit(system, data, initial_state="estimate", noise_sd="common", progress=False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("g3", [0.371, 0.583]),
        ("g4", [0.413, 0.564]),
        ("g5", [0.397, 0.537]),
        ("m8", [0.355, 0.544]),
        ("m6", [0.0, 0.242]),
    ],
)
def test_marine_population(marine: xr.Dataset, name: str, expected: list[float]) -> None:
    np.testing.assert_allclose(ends(marine, name), expected, atol=6e-4)


def test_every_rate_is_profiled(marine: xr.Dataset) -> None:
    """Also those next to one at the end of its support, and that one."""
    assert (marine["profiled"] == 1).all()
    assert (marine["on_bound"].sel(parameter="m6") == 1).all()
    assert np.isfinite(marine["parameters_upper"]).all()


def test_one_direction_is_open() -> None:
    """Of Michaelis-Menten elimination far below Km, only Vm / Km has an upper end.

    The numbers are SciPy's, as `benchmarks/profile_intervals.py --parts dose` prints them.
    """
    fitted = wp.fit(
        MichaelisMenten(), dose_records(1, 0), initial_state=DOSE, initial_time=0.0, progress=False
    )
    np.testing.assert_allclose(ends(fitted, "ka"), [0.5363, 0.8696], atol=2e-4)
    np.testing.assert_allclose(ends(fitted, "V"), [16.087, 21.840], atol=2e-3)
    np.testing.assert_allclose(ends(fitted, "Vm"), [0.5160, np.inf], atol=2e-4)
    np.testing.assert_allclose(ends(fitted, "Km"), [1.2680, np.inf], atol=2e-4)
    assert (fitted["profiled"] == 1).all()


def test_a_fit_continues_from_a_better_optimum() -> None:
    """Started where uptake and elimination are exchanged, profiles lead to the better optimum."""
    data = dose_records(6, 3)
    given: dict[str, Any] = {"initial_state": DOSE, "initial_time": 0.0, "progress": False}
    exchanged = {"ka": 0.13, "V": 3.4, "Vm": 8.4, "Km": 7.4}
    one = wp.fit(MichaelisMenten(), data, initial=exchanged, starts=1, **given)
    several = wp.fit(MichaelisMenten(), data, **given)
    np.testing.assert_allclose(one["sum_of_squares"], several["sum_of_squares"], rtol=1e-6)
    assert (one["status"] == 0).all()
    assert (one["starts"] > 1).any()
    np.testing.assert_allclose(one["parameters_lower"], several["parameters_lower"], rtol=1e-3)


def test_the_reference() -> None:
    """SciPy's profile of a straight line ends where the t quantile does."""
    x = np.linspace(0.0, 1.0, 12)
    y = 1.0 + 2.0 * x + 0.1 * np.cos(9.0 * x)
    design = np.stack([np.ones_like(x), x], axis=1)
    reference = Reference.at_optimum(
        lambda values: (design @ values - y, design), np.array([0.5, 1.0]), (0.0, np.inf)
    )
    covariance = np.linalg.inv(design.T @ design) * reference.squares / 10
    half = stats.t.ppf(0.975, 10) * np.sqrt(covariance[1, 1])
    found = [reference.end(1, side, 0.95) for side in (-1, 1)]
    np.testing.assert_allclose(found, reference.best[1] + half * np.array([-1.0, 1.0]), rtol=1e-5)


def test_coverage_where_some_ends_are_bounds() -> None:
    """95 % intervals of 400 records, within three standard errors."""
    fitted = wp.fit(
        stage_system(3)(),
        stage_records(400, 1),
        initial_state="estimate",
        noise_sd="common",
        progress=False,
    )
    truth = xr.DataArray(list(STAGE_TRUTH.values()), {"parameter": list(STAGE_TRUTH)})
    inside = (fitted["parameters_lower"] <= truth) & (truth <= fitted["parameters_upper"])
    error = np.sqrt(0.95 * 0.05 / 400)
    assert (abs(inside.mean("trajectory") - 0.95) < 3.0 * error).all()
    assert (fitted["parameters_lower"] == 0.0).any()
