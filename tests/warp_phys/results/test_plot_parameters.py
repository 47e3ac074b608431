"""Plots of estimated parameters: values, bands and truth, and marks where a model stops fitting."""

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

import warp_phys as wp
from tests.warp_phys.results.drawings import drawn, keys
from warp_phys.results.plots.parameters import estimated_names
from warp_phys.systems import UsageError


class TestParameters:
    def test_one_axis_each_with_band_and_unit(self, estimated):
        axes = wp.plot_parameters(estimated, trajectory=1)
        assert isinstance(axes, np.ndarray)
        labels = [ax.get_ylabel() for ax in axes]
        assert labels == ["alpha (1/year)", "beta (1/year)", "gamma (1/year)"]  # delta is known
        for index, ax in enumerate(axes):
            (curve,) = drawn(ax)
            np.testing.assert_array_equal(curve[:, 1], estimated.parameters[1, :, index])
            assert len(ax.collections) == 1
            assert ax.get_xlabel() == "time (year)"
        assert keys(axes[0]) == ["90 % band", "estimate"]

    def test_truth_of_the_same_label(self, estimated, predators):
        picked = estimated.isel(trajectory=[2])
        (ax,) = wp.plot_parameters(picked, parameters="gamma", truth=predators)
        line = drawn(ax)[1]
        np.testing.assert_allclose(line[:, 1], predators.true_parameters.values[2, 2])
        assert keys(ax)[-1] == "true"

    def test_published_values(self, estimated):
        truth = {"alpha": 0.5, "gamma": (0.8, 0.1), "delta": 0.02}
        axes = wp.plot_parameters(estimated, truth=truth)
        assert [len(ax.patches) for ax in axes] == [0, 0, 1]
        assert axes[2].patches[0].get_y() == pytest.approx(0.7)
        assert axes[2].patches[0].get_height() == pytest.approx(0.2)
        assert drawn(axes[0])[1][0, 1] == 0.5
        assert len(drawn(axes[1])) == 1

    def test_own_axes(self, estimated):
        figure, grid = plt.subplots(2, 2)
        axes = wp.plot_parameters(
            estimated, parameters=["alpha", "beta", "gamma", "delta"], axes=grid
        )
        assert list(axes) == list(grid.flat)
        wp.plot_parameters(estimated, parameters="alpha", axes=figure.axes[0])
        with pytest.raises(UsageError, match="expected 2 axes, one for each panel, got 4"):
            wp.plot_parameters(estimated, parameters=["alpha", "beta"], axes=grid)
        with pytest.raises(UsageError, match="expected matplotlib Axes, got str"):
            wp.plot_parameters(estimated, parameters=["alpha"], axes=["ax"])

    def test_parameters_known_beforehand_are_left_out(self, estimated, predators):
        assert estimated_names(estimated) == ["alpha", "beta", "gamma"]
        without = estimated.drop_vars(["parameters_lower", "parameters_upper"])
        assert estimated_names(without) == ["alpha", "beta", "gamma"]
        lone = without.isel(trajectory=[0], time=[0])
        assert estimated_names(lone) == ["alpha", "beta", "gamma", "delta"]

    def test_bands_never_calibrated(self, estimated):
        unknown = estimated.assign(
            {
                name: xr.full_like(estimated[name], np.nan)
                for name in ("parameters_lower", "parameters_upper")
            }
        )
        (ax,) = wp.plot_parameters(unknown, parameters="alpha")
        assert not ax.collections
        assert keys(ax) == ["estimate"]

    def test_coordinates_where_parameters_are_not_determined(self, springs):
        found = wp.estimate(wp.WarpPhys("mass_spring_damper", head="regression"), springs)
        axes = wp.plot_parameters(found, truth={"k_over_m": 1.0})
        assert [ax.get_ylabel() for ax in axes] == ["k_over_m (1/s2)", "c_over_m (1/s)"]
        assert len(drawn(axes[0])) == 2
        (ax,) = wp.plot_parameters(found, parameters="m", truth=springs)
        assert ax.texts[0].get_text() == "not determined by the data"
        assert not ax.lines


class TestWhatIsToBeMinded:
    """Marks of an estimate of the information head."""

    def test_the_time_of_a_change(self, waves):
        changed = float(waves.changed_at[1])
        assert changed == pytest.approx(6.0, abs=0.5)
        (panel,) = wp.plot_parameters(waves, trajectory=1)
        assert drawn(panel)[-1][:, 0].tolist() == [changed, changed]
        assert keys(panel) == ["90 % band", "estimate", "no longer described"]
        ax = wp.plot_predicted(waves, trajectory=1)
        assert drawn(ax)[-1][:, 0].tolist() == [changed, changed]
        assert "no longer described" in keys(ax)
        assert ax.get_legend().get_title().get_text() == "successive residuals are alike"

    def test_nothing_to_be_minded(self, waves):
        (panel,) = wp.plot_parameters(waves)
        assert keys(panel) == ["90 % band", "estimate"]
        assert panel.get_legend().get_title().get_text() == ""
        assert "no longer described" not in keys(wp.plot_predicted(waves))

    def test_bits_in_words_above_the_legend(self, waves):
        far = waves.copy(deep=True)
        far["out_of_range"].values[0] = 16
        far["estimate_status"].values[0, -1] = 2
        words = (
            "another optimum is nearly as good\n"
            "out of range: an estimate lies many standard deviations from its prior"
        )
        (panel,) = wp.plot_parameters(far)
        assert panel.get_legend().get_title().get_text() == words
        ax = wp.plot_predicted(far)
        assert ax.get_legend().get_title().get_text() == words
        wp.plot_predicted(wp.forecast(waves, [12.0, 12.5], system=None), ax=ax)
        assert ax.get_legend().get_title().get_text() == words

    def test_wide_first_bands_are_cut(self, estimated):
        wide = estimated.copy(deep=True)
        wide["parameters_upper"].values[:, :2, 0] = 1000.0
        (panel,) = wp.plot_parameters(wide, parameters="alpha")
        low, high = panel.get_ylim()
        assert low < wide.parameters[0, :, 0].min()
        assert wide.parameters_upper[0, 2, 0] < high < 10.0
        (panel,) = wp.plot_parameters(wide, parameters="alpha", truth={"alpha": (20.0, 1.0)})
        assert panel.get_ylim()[1] >= 21.0
