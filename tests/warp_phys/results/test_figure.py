"""Figures: what a data set holds decides about its panels; files are written whole."""

import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import warp_phys as wp
from tests.warp_phys.results.drawings import history
from warp_phys.results.plots.figure import figure_of, save_figure
from warp_phys.systems import OutputExistsError, SchemaError, UsageError


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
