"""Plots: what is drawn is what the data hold, labeled with names and units."""

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

import warp_phys as wp
from tests.warp_phys.results.drawings import TIMES, drawn, history, keys
from warp_phys.results.pick import trajectory_position
from warp_phys.systems import SchemaError, UnknownNameError, UsageError, WarpPhysError
from warp_phys.systems.errors import MissingExtraError

HUDSON_BAY = Path(__file__).parents[3] / "examples" / "data" / "hudson_bay.csv"


class TestObserved:
    def test_points_and_noiseless_curve(self, predators):
        ax = wp.plot_observed(predators, trajectory=1)
        record = predators.isel(trajectory=1)
        points, curve, *rest = drawn(ax)
        np.testing.assert_array_equal(points, np.c_[TIMES, record.observed[:, 0]])
        np.testing.assert_array_equal(curve, np.c_[TIMES, record.noiseless[:, 0]])
        np.testing.assert_array_equal(rest[0], np.c_[TIMES, record.observed[:, 1]])
        assert ax.get_xlabel() == "time (year)"
        assert ax.get_ylabel() == "prey, predator"
        assert keys(ax) == ["prey", "predator", "observed", "without noise"]

    def test_units_stand_at_the_axis(self, springs):
        assert wp.plot_observed(springs).get_ylabel() == "position (m), velocity (m/s)"
        assert wp.plot_observed(springs, output="velocity").get_ylabel() == "velocity (m/s)"
        assert wp.plot_observed(springs, output=["position"]).get_xlabel() == "time (s)"

    def test_own_axes_are_used(self, springs):
        _, axes = plt.subplots(1, 2)
        assert wp.plot_observed(springs, ax=axes[1]) is axes[1]
        assert not axes[0].lines
        assert len(plt.get_fignums()) == 1

    def test_own_grids(self, ragged):
        points, _ = drawn(wp.plot_observed(ragged, output="angle"))
        np.testing.assert_array_equal(points[:, 0], ragged.time[0])
        assert np.isfinite(points).all(axis=1).sum() == 20

    def test_a_measured_record(self):
        record = wp.read_trajectories(HUDSON_BAY)
        ax = wp.plot_observed(record)
        assert ax.get_xlabel() == "time"
        assert keys(ax) == ["prey", "predator"]
        assert all(tick == round(tick) for tick in ax.get_xticks())

    def test_colors_differ(self, springs):
        colors = [line.get_color() for line in wp.plot_observed(springs).lines]
        assert len(set(colors)) >= 2


class TestPredicted:
    def test_curve_bands_and_points(self, ahead, predators):
        ax = wp.plot_predicted(ahead, predators, trajectory=2, output="predator")
        points, curve = drawn(ax)
        np.testing.assert_array_equal(points[:, 1], predators.observed[2, :, 1])
        np.testing.assert_array_equal(curve[:, 1], ahead.predicted[2, :, 1])
        outer, inner = (band.get_datalim(ax.transData) for band in ax.collections)
        assert outer.ymax == pytest.approx(float(ahead.observed_upper[2, :, 1].max()))
        assert inner.ymax == pytest.approx(float(ahead.predicted_upper[2, :, 1].max()))
        assert outer.ymin == pytest.approx(float(ahead.observed_lower[2, :, 1].min()))
        assert keys(ax) == ["observed", "predicted", "80 % band of a measurement", "80 % band"]

    def test_without_bands_and_data(self, estimated):
        ax = wp.plot_predicted(estimated)
        assert not ax.collections
        assert keys(ax) == ["prey", "predator", "predicted"]

    def test_one_after_the_other_on_the_same_axes(self, estimated, ahead, predators):
        ax = wp.plot_predicted(estimated, predators, output="prey")
        assert wp.plot_predicted(ahead, output="prey", ax=ax) is ax
        assert len(keys(ax)) == len(set(keys(ax))) == 4

    def test_the_record_of_the_same_label(self, ahead, predators):
        picked = ahead.isel(trajectory=[2])
        points, *_ = drawn(wp.plot_predicted(picked, predators, output="prey"))
        np.testing.assert_array_equal(points[:, 1], predators.observed[2, :, 0])
        with pytest.raises(UnknownNameError, match=r"unknown trajectory '2'.* known: 0, 1"):
            wp.plot_predicted(picked, predators.isel(trajectory=[0, 1]))

    def test_an_output_nobody_measured(self, ahead, predators):
        record = predators.isel(output=[0])
        assert len(drawn(wp.plot_predicted(ahead, record))) == 3

    def test_a_single_time(self, ahead):
        ax = wp.plot_predicted(ahead.isel(time=[3]), output="prey")
        assert drawn(ax)[0].shape == (1, 2)
        assert ax.lines[-1].get_marker() == "_"
        assert len(ax.collections) == 2

    def test_a_real_estimate(self, predators):
        found = wp.estimate(wp.WarpPhys("lotka_volterra", head="regression"), predators)
        wp.plot_predicted(found, predators)


class TestHistory:
    def test_both_losses_and_the_step_kept(self):
        ax = wp.plot_history(history())
        training, validation, best = drawn(ax)
        np.testing.assert_array_equal(training, np.c_[[10, 20, 30, 40], [3, 2, 1, 0]])
        np.testing.assert_array_equal(validation[:, 1], [2, 1, 0.5, 0.75])
        np.testing.assert_array_equal(best, [[30, 0.5]])
        assert keys(ax) == ["training", "validation", "kept: step 30"]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("optimizer step", "loss")

    def test_a_single_evaluation(self):
        wp.plot_history(history(1))

    def test_something_else(self, springs):
        with pytest.raises(SchemaError, match="training_loss and validation_loss, as train"):
            wp.plot_history(springs)


class TestComplaints:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"output": "pray"}, "unknown output 'pray'; did you mean 'prey'.* known: prey, pred"),
            ({"output": []}, "expected at least one output to draw"),
            ({"trajectory": 3}, "expected trajectory as a position from 0 to 2, got 3"),
            ({"trajectory": "7"}, "unknown trajectory '7'; .*known: 0, 1, 2"),
            ({"trajectory": 1.0}, r"a position \(a whole number\) or a label \(text\), got 1.0"),
            ({"ax": "left"}, "expected matplotlib Axes, got str"),
        ],
    )
    def test_of_observed_and_predicted(self, predators, ahead, options, message):
        with pytest.raises(UsageError, match=message):
            wp.plot_observed(predators, **options)
        with pytest.raises(UsageError, match=message):
            wp.plot_predicted(ahead, **options)
        assert not plt.get_fignums()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"parameters": "alfa"}, "unknown parameter 'alfa'; did you mean 'alpha'"),
            ({"parameters": []}, "expected at least one parameter to draw"),
            ({"truth": {"gama": 1.0}}, "unknown parameter 'gama'; did you mean 'gamma'"),
            ({"truth": {"beta": (1, 2, 3)}}, r"truth of 'beta' as a number or \(value, standard"),
            ({"truth": {"beta": (1.0, -2.0)}}, r"got \(1.0, -2.0\)"),
        ],
    )
    def test_of_parameters(self, estimated, options, message):
        with pytest.raises(UsageError, match=message):
            wp.plot_parameters(estimated, **options)

    def test_what_does_not_hold_it(self, predators, estimated):
        with pytest.raises(SchemaError, match="the variable 'predicted', got observed"):
            wp.plot_predicted(predators)
        with pytest.raises(SchemaError, match="the variable 'observed'"):
            wp.plot_observed(estimated)
        with pytest.raises(SchemaError, match=r"every sample, .* got \(trajectory, parameter\)"):
            wp.plot_parameters(estimated.assign(parameters=estimated.parameters[:, -1]))
        with pytest.raises(SchemaError, match="'true_parameters'"):
            wp.plot_parameters(estimated, truth=estimated)

    def test_many_labels_are_not_listed(self, predators):
        many = predators.isel(trajectory=[0] * 100)
        many = many.assign_coords(trajectory=[f"run{k}" for k in range(100)])
        assert trajectory_position(many, "run42") == 42
        assert trajectory_position(many, -1) == 99
        with pytest.raises(UnknownNameError, match=r"did you mean 'run7.*known: 100 of them, from"):
            trajectory_position(many, "rum7")

    def test_matplotlib_missing(self, springs, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(MissingExtraError) as caught:
            wp.plot_observed(springs)
        assert 'pip install "warp-phys[plot]"' in str(caught.value)
        assert isinstance(caught.value, WarpPhysError)
        assert isinstance(caught.value, ImportError)
