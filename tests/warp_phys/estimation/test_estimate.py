from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.warp_phys.fitting.noisy_records import TIMES, noisy_records
from warp_phys.data_gen import simulate
from warp_phys.systems import Pendulum
from warp_phys.systems.errors import SchemaError, UsageError
from warp_phys.systems.schema.flags import OUT_OF_RANGE


@pytest.fixture(scope="module")
def estimated(noisy_model: wp.WarpPhys) -> xr.Dataset:
    return wp.estimate(noisy_model, noisy_records(600, seed=2))


def test_the_result_is_labeled_as_the_schema_says(estimated: xr.Dataset) -> None:
    assert estimated["parameters"].dims == ("trajectory", "time", "parameter")
    assert estimated["initial_state"].dims == ("trajectory", "time", "state")
    assert estimated["noise_sd"].dims == ("trajectory", "time", "output")
    assert list(estimated["parameter"]) == ["alpha", "beta", "gamma", "delta"]
    assert estimated["out_of_range"].dims == ("trajectory",)
    assert len(estimated["out_of_range"].attrs["flag_masks"]) == len(OUT_OF_RANGE)
    assert estimated.attrs["band_level"] == 0.9
    assert estimated.attrs["system"] == "lotka_volterra"
    lower, upper = estimated["parameters_lower"], estimated["parameters_upper"]
    assert (lower < estimated["parameters"]).all()
    assert (estimated["parameters"] < upper).all()


def test_the_bands_cover_and_narrow_with_context(estimated: xr.Dataset) -> None:
    truth = noisy_records(600, seed=2)["true_parameters"]
    inside = (estimated["parameters_lower"] <= truth) & (truth <= estimated["parameters_upper"])
    # 600 records: three standard deviations of the share itself, and of the calibration's.
    assert (abs(inside.mean("trajectory").isel(time=[4, 9, 16]) - 0.9) < 0.06).all()
    error = abs(np.log(estimated["parameters"] / truth)).mean("trajectory")
    assert (error.isel(time=16) < error.isel(time=2)).all()


def test_a_wider_level_gives_wider_bands(noisy_model: wp.WarpPhys) -> None:
    data = noisy_records(20, seed=4)
    wide, narrow = (wp.estimate(noisy_model, data, level=level) for level in (0.95, 0.5))
    assert (wide["parameters_lower"] < narrow["parameters_lower"]).all()
    assert (wide["parameters_upper"] > narrow["parameters_upper"]).all()
    with pytest.raises(UsageError, match="level between 0 and 1"):
        wp.estimate(noisy_model, data, level=90)
    with pytest.raises(UsageError, match=r"up to 0\.99"):
        wp.estimate(noisy_model, data, level=0.999)


def test_a_trajectory_alone_equals_itself_in_the_batch(
    noisy_model: wp.WarpPhys, estimated: xr.Dataset
) -> None:
    data = noisy_records(600, seed=2)
    for place in (0, 17, 599):
        alone = wp.estimate(noisy_model, data.isel(trajectory=[place]))
        for name in ("parameters", "parameters_lower", "initial_state", "noise_sd"):
            np.testing.assert_allclose(
                alone[name][0], estimated[name][place], rtol=1e-12, err_msg=name
            )


def test_times_may_start_anywhere(noisy_model: wp.WarpPhys) -> None:
    data = noisy_records(5, seed=5)
    shifted = data.assign_coords(time=data["time"] + 1900.0)
    np.testing.assert_allclose(
        wp.estimate(noisy_model, shifted)["parameters"],
        wp.estimate(noisy_model, data)["parameters"],
        rtol=1e-9,
    )


def test_one_trajectory_without_its_dimension_is_accepted(noisy_model: wp.WarpPhys) -> None:
    data = noisy_records(3, seed=5)
    alone = wp.estimate(noisy_model, data.isel(trajectory=1))
    assert alone.sizes["trajectory"] == 1
    np.testing.assert_allclose(
        alone["parameters"][0], wp.estimate(noisy_model, data)["parameters"][1], rtol=1e-12
    )


def test_own_grids_keep_their_layout_and_padding(noisy_model: wp.WarpPhys) -> None:
    data = noisy_records(2, seed=6)
    times = np.stack([TIMES, TIMES])
    times[1, 10:] = np.nan
    observed = data["observed"].values.copy()
    observed[1, 10:] = np.nan
    ragged = xr.Dataset(
        {"observed": (("trajectory", "sample", "output"), observed)},
        coords={"time": (("trajectory", "sample"), times), "output": ["prey", "predator"]},
    )
    found = wp.estimate(noisy_model, ragged)
    whole = wp.estimate(noisy_model, data)
    assert found["parameters"].dims == ("trajectory", "sample", "parameter")
    np.testing.assert_allclose(found["parameters"][0], whole["parameters"][0], rtol=1e-12)
    np.testing.assert_allclose(found["parameters"][1, :10], whole["parameters"][1, :10], rtol=1e-12)
    assert np.isnan(found["parameters"][1, 10:]).all()


@pytest.mark.parametrize(
    ("bit", "change"),
    [
        (1, lambda data: data.assign(observed=data["observed"] * 1e6)),
        (2, lambda data: data.assign_coords(time=data["time"] * 2.0)),
        (4, lambda data: data.isel(time=slice(None, None, 2))),
    ],
)
def test_records_outside_of_training_are_flagged(
    noisy_model: wp.WarpPhys, bit: int, change: object
) -> None:
    data = noisy_records(4, seed=7)
    found = wp.estimate(noisy_model, change(data))
    assert (found["out_of_range"].values & bit == bit).all()


def test_few_records_like_those_of_training_are_flagged(estimated: xr.Dataset) -> None:
    assert float((estimated["out_of_range"] != 0).mean()) < 0.05


def test_predictions_of_wild_records_end_and_disturb_no_other(noisy_model: wp.WarpPhys) -> None:
    data = noisy_records(3, seed=8)
    wild = data["observed"].values.copy()
    wild[1, 3] = 1e12
    found = wp.estimate(noisy_model, data.assign(observed=(data["observed"].dims, wild)))
    calm = wp.estimate(noisy_model, data)
    for place in (0, 2):
        np.testing.assert_allclose(found["predicted"][place], calm["predicted"][place], rtol=1e-9)


def test_fixed_parameters_stay_in_the_result() -> None:
    data = simulate(
        "pendulum", n=500, times=np.linspace(0.0, 2.0, 11), observe=["angle"], noise=0.02, seed=0
    )
    chosen = wp.WarpPhys(Pendulum(), head="direct", window=4, width=16)
    wp.train(chosen, data, steps=30, progress=False)
    found = wp.estimate(chosen, data.isel(trajectory=[0, 1]))
    gravity = found.sel(parameter="g")
    for name in ("parameters", "parameters_lower", "parameters_upper"):
        assert (gravity[name] == 9.81).all()
    assert found["predicted"].sizes["output"] == 1
    assert np.isfinite(found["predicted"]).all()


def test_estimates_round_trip_through_a_file(estimated: xr.Dataset, tmp_path: Path) -> None:
    wp.save(estimated, tmp_path / "estimate.nc")
    xr.testing.assert_identical(wp.load(tmp_path / "estimate.nc"), estimated)


def test_a_model_wants_the_outputs_it_was_trained_on(noisy_model: wp.WarpPhys) -> None:
    with pytest.raises(SchemaError, match="reads the outputs prey, predator"):
        wp.estimate(noisy_model, noisy_records(2, seed=9).sel(output=["prey"]))


def test_outputs_may_come_in_another_order(noisy_model: wp.WarpPhys) -> None:
    data = noisy_records(2, seed=9)
    swapped = wp.estimate(noisy_model, data.sel(output=["predator", "prey"]))
    np.testing.assert_array_equal(
        swapped["parameters"], wp.estimate(noisy_model, data)["parameters"]
    )
