"""Fits on disk: they come back identical, and any HDF5 reader opens them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate

TIMES = np.linspace(0.0, 3.0, 31)


def vibrations(count: int, *, own_grids: bool = False) -> xr.Dataset:
    times = np.tile(TIMES, (count, 1)) if own_grids else TIMES
    if own_grids:
        times[0, 20:] = np.nan
    data = simulate("mass_spring_damper", n=count, times=times, noise=0.05, seed=0)
    return data.assign_coords(trajectory=[f"run {k}" for k in range(count)])


def fit(data: xr.Dataset, **options: object) -> xr.Dataset:
    return wp.fit("mass_spring_damper", data, initial=data.true_parameters, **options)


@pytest.mark.parametrize("own_grids", [False, True])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("fixed", [{}, {"m": 0.05}], ids=["undetermined", "determined"])
def test_round_trip(tmp_path, count, own_grids, fixed) -> None:
    fitted = fit(vibrations(count, own_grids=own_grids), fixed=fixed)
    assert (fitted.undetermined == "").all() == bool(fixed)
    wp.save(fitted, tmp_path / "fit.nc")
    read = wp.load(tmp_path / "fit.nc")
    assert read.identical(fitted)
    assert wp.summary(read) == wp.summary(fitted)


def test_some_words_and_a_failure(tmp_path) -> None:
    data = vibrations(2)
    data["observed"][1] = np.nan
    fitted = fit(data, noise_sd={"position": 0.01, "velocity": 0.1})
    assert fitted.undetermined.values.tolist() == [
        "m, k and c are not determined, only k/m and c/m are",
        "",
    ]
    wp.save(fitted, tmp_path / "fit.nc")
    assert wp.load(tmp_path / "fit.nc").identical(fitted)


def test_a_plain_hdf5_reader(tmp_path) -> None:
    fitted = fit(vibrations(2))
    wp.save(fitted, tmp_path / "fit.nc")
    with h5py.File(tmp_path / "fit.nc") as file:
        np.testing.assert_array_equal(file["parameters"][()], fitted.parameters)
        np.testing.assert_array_equal(file["information"][()], fitted.information)
        assert file["status"].attrs["flag_meanings"].split()[0] == "converged"
        assert [name.decode() for name in file["estimated"][()]] == [
            *("m", "k", "c"),
            *("position(0)", "velocity(0)"),
        ]
        assert file["undetermined"][()][0].decode().startswith("m, k and c are not determined")
        assert [axis[0].name for axis in file["parameters"].dims] == ["/trajectory", "/parameter"]
        assert file["estimated_kind"][()][3] == b"initial_state"
