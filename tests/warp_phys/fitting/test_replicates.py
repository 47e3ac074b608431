"""Several measurements at one time: least squares takes them as their mean, counted as often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.systems.dynamics.resting_systems import Receptor, Turnover
from tests.warp_phys.fitting.fit_records import CONVERGED, OSCILLATOR, fit, oscillations
from tests.warp_phys.fitting.test_steady_start import SHARED, TestTurnover, bindings
from warp_phys.systems import System, UsageError

CASES: list[tuple[System, Any, dict[str, Any]]] = [
    (OSCILLATOR, oscillations, {}),
    (Turnover(), TestTurnover().records, {"initial_state": "steady_state"}),
    (Receptor(), bindings, {"initial_state": "steady_state", "shared": SHARED}),
]


def repeated(data: xr.Dataset, *, own_grids: bool) -> xr.Dataset:
    """Return records with three samples at each time, whose means are the samples of the data."""
    observed = data["observed"].values
    shift = 0.01 * np.random.default_rng(0).standard_normal(observed.shape)
    parts = np.stack([observed - shift, observed, observed + shift], axis=2)
    values = parts.reshape(len(observed), -1, observed.shape[2])
    times = np.repeat(data["time"].values, 3)
    rest = data.drop_dims("time")
    if not own_grids:
        return rest.assign(observed=(("trajectory", "time", "output"), values)).assign_coords(
            time=times
        )
    return rest.assign(observed=(("trajectory", "sample", "output"), values)).assign_coords(
        time=(("trajectory", "sample"), np.tile(times, (len(observed), 1)))
    )


@pytest.mark.parametrize("own_grids", [False, True])
@pytest.mark.parametrize(("system", "make", "options"), CASES)
def test_is_the_fit_of_the_means(
    system: System, make: Any, options: dict[str, Any], own_grids: bool
) -> None:
    data = make()
    fitted = fit(system, repeated(data, own_grids=own_grids), noise_sd="common", **options)
    means = fit(system, data, noise_sd="common", **options)
    assert (fitted["status"] == CONVERGED).all()
    np.testing.assert_allclose(fitted["parameters"], means["parameters"], rtol=1e-6)
    np.testing.assert_array_equal(fitted["value_count"], 3 * means["value_count"])
    dim = "sample" if own_grids else "time"
    predicted = fitted["predicted"].values.reshape(*means["predicted"].shape[:2], 3, -1)
    assert fitted["predicted"].dims[1] == dim
    assert (predicted == predicted[:, :, :1]).all()


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    path.write_text(
        "time,position,velocity\n0,1,0\n0,1.1,0.1\n1,0.5,-1\n1,,-1.1\n", encoding="utf-8"
    )
    record = wp.read_trajectories(path)
    assert record["time"].values.tolist() == [0.0, 0.0, 1.0, 1.0]
    assert np.isnan(record["observed"].values[0, 3, 0])
    path.write_text("trajectory,time,x\na,0,1\nb,0,2\na,0,3\nb,1,4\n", encoding="utf-8")
    record = wp.read_trajectories(path)
    assert record["time"].values.tolist() == [[0.0, 0.0], [0.0, 1.0]]


def test_an_estimate_refuses_them() -> None:
    data = repeated(oscillations(2), own_grids=True)
    with pytest.raises(UsageError, match="expected time of trajectory 0 to increase, got 0 then 0"):
        wp.estimate(wp.WarpPhys(OSCILLATOR), data)
