"""Records whose time has another unit than the system's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.records.records import read_records
from warp_phys.records.time_units import in_time_unit
from warp_phys.systems import LogisticGrowth, OneCompartmentOral, UsageError


def growth(unit: str, factor: float) -> xr.Dataset:
    days = np.arange(21.0)
    noise = 0.5 * np.random.default_rng(0).standard_normal(21)
    values = 50.0 / (1.0 + 49.0 * np.exp(-0.4 * days)) + noise
    return xr.Dataset(
        {"observed": (("trajectory", "time", "output"), values.reshape(1, -1, 1))},
        coords={"time": ("time", days * factor, {"units": unit}), "output": ["population"]},
    )


def test_a_file_in_hours_and_a_system_in_days(tmp_path: Path) -> None:
    data = growth("hours since 2021-01-01", 24.0)
    series = xr.Dataset(
        {"population": ("time", data["observed"].values[0, :, 0])}, coords={"time": data["time"]}
    )
    series.to_netcdf(tmp_path / "hours.nc", engine="h5netcdf")
    fitted = wp.fit("logistic_growth", wp.read_trajectories(tmp_path / "hours.nc"), progress=False)
    assert float(fitted["parameters"][0, 0]) == pytest.approx(0.385, abs=0.02)
    assert fitted["time"].attrs["units"] == "day"
    np.testing.assert_array_equal(fitted["time"], np.arange(21.0))
    assert "time converted from hours to day" in fitted.attrs["history"]


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("s", 86400.0), ("minutes", 1440.0), ("weeks", 1.0 / 7.0), ("d", 1.0), ("days", 1.0)],
)
def test_every_unit_gives_the_same_fit(unit: str, factor: float) -> None:
    fitted = wp.fit(LogisticGrowth(), growth(unit, factor), progress=False)
    expected = wp.fit(LogisticGrowth(), growth("day", 1.0), progress=False)
    np.testing.assert_allclose(fitted["parameters"], expected["parameters"], rtol=1e-9)


def test_doses_and_own_grids_are_converted_too() -> None:
    system = OneCompartmentOral()
    data = simulate(system, 2, np.linspace(0.0, 24.0, 9), seed=0, progress=False)
    data["dose_amount"] = (("trajectory", "dose"), np.full((2, 1), 100.0))
    data["dose_time"] = (("trajectory", "dose"), np.full((2, 1), 12.0))
    data = data.assign_coords(dose_state=("dose", ["gut"]), dose_unit=("dose", ["mg"]))
    days = data.copy()
    days["dose_time"] = data["dose_time"] / 24.0
    days["initial_time"] = ("trajectory", np.zeros(2))
    days = days.assign_coords(time=("time", data["time"].values / 24.0, {"units": "days"}))
    read, same = (read_records(part, system, forcing=True) for part in (days, data))
    np.testing.assert_allclose(read.times, same.times, rtol=1e-14)
    assert read.doses is not None
    assert read.doses.times[:, 0].tolist() == [12.0, 12.0]
    assert read.time_unit == "h"


@pytest.mark.parametrize("unit", ["m", "generation"])
def test_what_is_no_time_is_refused(unit: str) -> None:
    with pytest.raises(UsageError, match=f"records are in '{unit}' and the system counts 'day'"):
        wp.fit(LogisticGrowth(), growth(unit, 1.0), progress=False)


@pytest.mark.parametrize("unit", ["", "1"])
def test_an_unknown_unit_is_that_of_the_system(unit: str) -> None:
    data = growth(unit, 1.0)
    assert in_time_unit(data, "day") is data


def test_an_estimate_and_training_read_alike() -> None:
    model = wp.WarpPhys(LogisticGrowth())
    estimates = [wp.estimate(model, growth(*pair)) for pair in (("hour", 24.0), ("day", 1.0))]
    np.testing.assert_allclose(estimates[0]["parameters"], estimates[1]["parameters"], rtol=1e-9)
