"""Records of the tests of the information head, and what their estimates must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import System

TIMES = np.linspace(0.0, 10.0, 41)
COUNT = 6
USUAL = {"alpha": 0.7, "beta": 0.06, "gamma": 0.8, "delta": 0.05}
STATES = {"prey": (9.0, 12.0), "predator": (6.0, 9.0)}


def records(system: System | str = "lotka_volterra", n: int = COUNT, **options: Any) -> xr.Dataset:
    known: dict[str, Any] = {"times": TIMES, "noise": 0.05, "seed": 3}
    return simulate(system, n, progress=False, **(known | options))


def estimate(system: System | str, data: xr.Dataset, **options: Any) -> xr.Dataset:
    return wp.estimate(wp.WarpPhys(system, **options), data, progress=False)


def holds(found: xr.Dataset, data: xr.Dataset, factor: float = 6.0) -> None:
    """The truth is within a few standard deviations, and these are small, at the last samples."""
    # Half widths of 90 % bands are 1.64 standard deviations and more.
    last = np.isfinite(found["parameters"].values).all(axis=2).sum(axis=1) - 1
    rows = np.arange(len(last))
    names = list(found["parameter"].values)
    truth = data["true_parameters"].sel(parameter=names).values
    value = found["parameters"].values[rows, last]
    half = (found["parameters_upper"] - found["parameters_lower"]).values[rows, last] / 2.0
    assert (abs(value - truth) <= factor / 1.64 * half + 1e-9 * abs(truth)).all()
    assert (found["out_of_range"] == 0).all()
    assert (found["described"] == 1).all()
    assert found["changed_at"].isnull().all()


def beginning(data: xr.Dataset, samples: int) -> xr.Dataset:
    """Return the first samples of records or of estimates."""
    return data.isel({"sample" if "sample" in data.dims else "time": slice(0, samples)})


def same(found: xr.Dataset, expected: xr.Dataset) -> None:
    """Compare estimates to 1e-12 of the largest value of each variable."""
    assert set(found.data_vars) == set(expected.data_vars)
    for name, one in found.data_vars.items():
        other = expected[name].values
        size = np.nanmax(np.abs(other), initial=0.0) if other.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(
            one.values, other, rtol=0.0, atol=1e-12 * size, err_msg=str(name)
        )


def over_time(estimated: xr.Dataset) -> xr.Dataset:
    """Return the variables that each sample has."""
    return estimated.drop_vars(["out_of_range", "changed_at"])
