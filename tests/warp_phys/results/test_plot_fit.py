"""Plots of fits: the curve over the record, and parameters side by side with their intervals."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.warp_phys.results.drawings import drawn, keys
from warp_phys.data_gen import simulate
from warp_phys.results.plots.figure import figure_of
from warp_phys.systems import UnknownNameError

TIMES = np.linspace(0.0, 4.0, 41)


@pytest.fixture(scope="module")
def swings() -> xr.Dataset:
    data = simulate("pendulum", n=5, times=TIMES, noise=0.05, seed=0)
    data["observed"][3] = np.nan
    return data.assign_coords(trajectory=[f"r{k}" for k in range(5)])


@pytest.fixture(scope="module")
def fitted(swings) -> xr.Dataset:
    return wp.fit("pendulum", swings, initial=swings.true_parameters)


def test_the_curve_over_the_record(fitted, swings):
    ax = wp.plot_predicted(fitted, swings, trajectory="r1", output="angle")
    points, curve = drawn(ax)
    np.testing.assert_array_equal(points[:, 1], swings.observed[1, :, 0])
    np.testing.assert_array_equal(curve[:, 1], fitted.predicted[1, :, 0])
    assert ax.get_ylabel() == "angle (rad)"
    alone = wp.plot_predicted(fitted.isel(trajectory=1), output="angle")
    np.testing.assert_array_equal(drawn(alone)[0], curve)


def test_a_panel_for_each_free_parameter(fitted):
    axes = wp.plot_parameters(fitted)
    assert [ax.get_ylabel() for ax in axes] == ["length (m)", "damping (1/s)"]
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["r0", "r1", "r2", "r3", "r4"]
    values, bottom = drawn(axes[0])
    np.testing.assert_array_equal(values[:, 0], [0, 1, 2, 4])
    np.testing.assert_array_equal(values[:, 1], fitted.parameters[[0, 1, 2, 4], 0])
    bars = np.array([path.vertices[:, 1] for path in axes[0].collections[0].get_paths()])
    np.testing.assert_array_equal(bars[:, 0], fitted.parameters_lower[[0, 1, 2, 4], 0])
    np.testing.assert_array_equal(bars[:, 1], fitted.parameters_upper[[0, 1, 2, 4], 0])
    assert bottom[:, 0].tolist() == [3]
    assert keys(axes[0]) == ["fit", "95 % interval", "not converged"]
    assert axes[1].get_legend() is None


def test_truth_of_the_same_label_or_a_published_value(fitted, swings):
    (ax,) = wp.plot_parameters(
        fitted, parameters="damping", truth=swings.isel(trajectory=[*range(4, -1, -1)])
    )
    np.testing.assert_array_equal(drawn(ax)[-1][:, 1], swings.true_parameters[:, 1])
    assert keys(ax)[-1] == "true"
    (ax,) = wp.plot_parameters(fitted, parameters="damping", truth={"damping": (0.2, 0.05)})
    assert len(ax.patches) == 1
    with pytest.raises(UnknownNameError, match="unknown parameter 'dampin'"):
        wp.plot_parameters(fitted, parameters="dampin")


def test_what_is_not_determined_has_no_bar(fitted):
    dims = fitted.identifiable.dims
    doubtful = fitted.assign(
        identifiable=(dims, [[1, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]]),
        on_bound=(dims, [[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]),
    )
    length, damping = wp.plot_parameters(doubtful)
    assert [points[:, 0].tolist() for points in drawn(length)] == [[0, 2, 4], [1], [3]]
    assert len(length.collections[0].get_paths()) == 3
    assert keys(length) == ["fit", "95 % interval", "not determined", "not converged"]
    assert [points[:, 0].tolist() for points in drawn(damping)] == [[0, 1, 4], [2], [3]]
    assert "at the end of its support" in keys(damping)
    known = wp.plot_parameters(doubtful, parameters="g")
    assert drawn(known[0])[0][:, 0].tolist() == [0, 1, 2, 4]


def test_an_open_end_and_many_labels(fitted):
    many = fitted.isel(trajectory=[0, 1] * 30).assign_coords(trajectory=np.arange(60))
    upper = many.parameters_upper.copy()
    upper[0, 0] = np.inf
    ax = wp.plot_parameters(many.assign(parameters_upper=upper), parameters="length")[0]
    assert len(ax.get_xticks()) <= 8
    assert np.isfinite(ax.get_ylim()).all()


def test_the_figure_of_a_file(fitted, swings):
    figure = figure_of(fitted, data=swings, trajectory="r2")
    panels = [ax.get_ylabel() for ax in figure.axes]
    assert panels == ["angle (rad)", "angular_velocity (rad/s)", "length (m)", "damping (1/s)"]
    one = figure_of(fitted.isel(trajectory=[0]))
    assert [ax.get_ylabel() for ax in one.axes] == panels[:2]
    assert len(figure_of(fitted.isel(trajectory=0)).axes) == 2
