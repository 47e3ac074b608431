"""Profile intervals where quantities follow from others, or are known in some trajectories.

At an end of an interval the least sum of squares, with that unknown held there and all others
fitted, is Q (1 + F / (n - p)).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import warp_phys as wp
from tests.systems.dynamics.resting_systems import Receptor
from tests.warp_phys.fitting.fit_records import fit
from tests.warp_phys.fitting.test_steady_start import AFTER, BEFORE, binding, bindings
from warp_phys.data_gen import simulate
from warp_phys.systems import LotkaVolterra, System

CYCLES = {"noise_sd": "common", "initial_state": "estimate"}


def populations(n: int) -> xr.Dataset:
    """Return short records of cycles with much noise, whose intervals are not symmetric."""
    truth = {"alpha": 0.9, "beta": 0.6, "gamma": 0.9, "delta": 0.4}
    start = {"prey": 1.0, "predator": 1.5}
    times = np.arange(15.0)
    data = simulate(
        LotkaVolterra(), n, times, parameters=truth, initial_states=start, noise=0.15, seed=1
    )
    return data[["observed"]]


def excess(system: System, data: xr.Dataset, name: str, **options: Any) -> list[float]:
    """Return Q at both ends of an interval, in units of what it should have risen by."""
    fitted = fit(system, data, **options)
    assert fitted["profiled"].sel(parameter=name).all()
    freedom = float(fitted["degrees_of_freedom"][0])
    rise = stats.f.ppf(0.95, 1, freedom) / freedom
    found = []
    for side in ("lower", "upper"):
        end = float(fitted[f"parameters_{side}"].sel(parameter=name)[0])
        if np.isinf(end) or end == 0.0:
            continue
        held = fit(system, data, initial=fitted, fixed={name: end}, **options)
        total = float(held["sum_of_squares"].sum() / fitted["sum_of_squares"].sum())
        found.append((total - 1.0) / rise)
    return found


def test_tied() -> None:
    ends = excess(LotkaVolterra(), populations(1), "beta", ties={"gamma": "alpha"}, **CYCLES)
    assert ends == pytest.approx([1.0, 1.0], rel=1e-3)


@pytest.mark.long
def test_from_steady_states() -> None:
    """The parameter moves the initial states as well, of three trajectories that share it."""
    data = bindings().isel(time=slice(0, None, 5), output=[1])
    options = {"initial_state": "steady_state", "noise_sd": "common"}
    fixed = {"off": 2.0, "make": 3.0, "lose": 4.0}
    fitted = fit(Receptor(), data, fixed=fixed, shared=["on"], **options)
    assert fitted["profiled"].sel(parameter="on").all()
    freedom = float(fitted["degrees_of_freedom"][0])
    rise = stats.f.ppf(0.95, 1, freedom) / freedom
    least = float(fitted["sum_of_squares"].sum())
    for side in ("lower", "upper"):
        rates = (float(fitted[f"parameters_{side}"].sel(parameter="on")[0]), 2.0, 3.0, 4.0)
        curves = [binding(rates, *pair)[::5, 1:2] for pair in zip(BEFORE, AFTER, strict=True)]
        total = float(((np.stack(curves) - data["observed"].values) ** 2).sum())
        assert (total / least - 1.0) / rise == pytest.approx(1.0, rel=1e-3)


@pytest.mark.long
def test_known_in_some_trajectories() -> None:
    """Each trajectory has the intervals that it has alone."""
    data = populations(2)
    both = fit(LotkaVolterra(), data, fixed={"gamma": np.array([0.9, np.nan])}, **CYCLES)
    alone = [
        fit(LotkaVolterra(), data.isel(trajectory=[0]), fixed={"gamma": 0.9}, **CYCLES),
        fit(LotkaVolterra(), data.isel(trajectory=[1]), **CYCLES),
    ]
    for name in ("parameters_lower", "parameters_upper"):
        one = xr.concat([part[name] for part in alone], dim="trajectory")
        np.testing.assert_allclose(both[name].values, one.values, rtol=1e-5)
    assert both["profiled"].values.tolist() == [[1, 1, 0, 1], [1, 1, 1, 1]]
    assert wp.summary(both, 0)
