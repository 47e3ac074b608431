"""Plots: what is drawn is what the data hold, labeled with names and units."""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.results.pick import trajectory_position
from warp_phys.results.plots.axes import MissingExtraError
from warp_phys.results.plots.figure import figure_of, save_figure
from warp_phys.results.plots.parameters import estimated_names
from warp_phys.systems import (
    OutputExistsError,
    SchemaError,
    UnknownNameError,
    UsageError,
    WarpPhysError,
)
from warp_phys.systems.schema.labels import labeled, stamp

mpl.use("Agg")

HUDSON_BAY = Path(__file__).parents[3] / "examples" / "data" / "hudson_bay.csv"
TIMES = np.linspace(0.0, 5.0, 26)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def predators() -> xr.Dataset:
    return simulate("lotka_volterra", n=3, times=TIMES, noise=0.1, missing=0.1, seed=0)


@pytest.fixture(scope="module")
def springs() -> xr.Dataset:
    return simulate("mass_spring_damper", n=2, times=TIMES, seed=0)


@pytest.fixture(scope="module")
def ragged() -> xr.Dataset:
    times = np.tile(TIMES, (2, 1))
    times[0, 20:] = np.nan
    return simulate("pendulum", n=2, times=times, noise=0.05, seed=0)


@pytest.fixture(scope="module")
def estimated(predators) -> xr.Dataset:
    """An estimate whose values and bands are known; delta counts as known beforehand."""
    shape = (*predators.observed.shape[:2], 4)
    values = np.broadcast_to(predators.true_parameters.values[:, None], shape).copy()
    values *= 1.0 + 0.1 / np.arange(1, shape[1] + 1)[:, None]
    values[..., 3] = 0.02
    width = np.where(np.arange(4) == 3, 0.0, 0.2) * values
    dataset = labeled(
        {
            "parameters": values,
            "parameters_lower": values - width,
            "parameters_upper": values + width,
            "predicted": predators.noiseless.values,
        },
        predators.drop_dims("state").coords.variables,
    )
    return stamp(dataset, title="estimates").assign_attrs(band_level=0.9)


@pytest.fixture(scope="module")
def ahead(predators) -> xr.Dataset:
    """A forecast with both bands."""
    curve = predators.noiseless.values
    dataset = labeled(
        {
            "predicted": curve,
            "predicted_lower": 0.8 * curve,
            "predicted_upper": 1.2 * curve,
            "observed_lower": xr.Variable(predators.noiseless.dims, 0.6 * curve),
            "observed_upper": xr.Variable(predators.noiseless.dims, 1.4 * curve),
        },
        predators.drop_dims(["state", "parameter"]).coords.variables,
    )
    return stamp(dataset, title="forecast").assign_attrs(band_level=0.8)


@pytest.fixture(scope="module")
def waves() -> xr.Dataset:
    """Estimates without training; the phase of the second record leaps at 6 s."""
    data = simulate("sine", n=2, times=np.arange(0.0, 12.0, 0.1), noise=0.02, seed=0)
    data["observed"].values[1, 60:] = np.roll(data["observed"].values[1], 3, axis=0)[60:]
    return wp.estimate(wp.WarpPhys("sine"), data)


def history(steps: int = 4) -> xr.Dataset:
    return xr.Dataset(
        {
            "training_loss": ("step", np.linspace(3.0, 0.0, steps)),
            "validation_loss": ("step", np.r_[2.0, 1.0, 0.5, 0.75][:steps]),
        },
        coords={"step": np.arange(1, steps + 1) * 10},
    )


def drawn(ax) -> list[np.ndarray]:
    """Return what lines and points show, (samples, 2) each, without the legend's own."""
    return [line.get_xydata() for line in ax.lines if len(line.get_xydata())]


def keys(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


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


class TestFigure:
    def panels(self, figure: Figure) -> list[str]:
        return [ax.get_ylabel() for ax in figure.axes]

    def test_what_it_holds_decides(self, predators, springs, estimated, ahead):
        assert self.panels(figure_of(predators)) == ["prey, predator"]
        assert self.panels(figure_of(springs)) == ["position (m)", "velocity (m/s)"]
        assert self.panels(figure_of(ahead)) == ["prey", "predator"]
        assert self.panels(figure_of(history())) == ["loss"]
        assert self.panels(figure_of(estimated, data=predators, trajectory="1")) == [
            "prey, predator",
            "alpha (1/year)",
            "beta (1/year)",
            "gamma (1/year)",
        ]
        for alone in (predators, history()):
            with pytest.raises(UsageError, match="a training history and records are drawn alone"):
                figure_of(alone, data=predators)
        assert not plt.get_fignums()

    def test_an_estimate_without_predictions(self, springs):
        found = wp.estimate(wp.WarpPhys("mass_spring_damper", head="regression"), springs)
        assert self.panels(figure_of(found)) == ["k_over_m (1/s2)", "c_over_m (1/s)"]

    def test_nothing_to_draw(self, predators):
        with pytest.raises(SchemaError, match="to draw, got the variables true_parameters"):
            figure_of(predators[["true_parameters"]])

    @pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
    def test_written_whole_or_not_at_all(self, tmp_path, springs, suffix):
        path = tmp_path / f"figure.{suffix}"
        save_figure(figure_of(springs), path)
        written = path.read_bytes()
        assert len(written) > 1000
        with pytest.raises(OutputExistsError, match="exists already"):
            save_figure(figure_of(springs), path)
        assert path.read_bytes() == written
        save_figure(figure_of(springs), path, overwrite=True)
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
