"""The paper's data sets: published numbers, ranges and levels, and the same data for everybody."""

import json
import math

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from warp_phys import load, save
from warp_phys.data_gen import paper_data, paper_data_names
from warp_phys.data_gen.recipes.repeat_copy import repeat_copy
from warp_phys.systems import UnknownNameError, UsageError, get_system
from warp_phys.systems.schema.labels import check_dataset

FAMILIES = ("paper_msd", "paper_msd_zero", "paper_lv_repeat_copy", "paper_sine")
VIBRATION = {"m": (0.02, 0.04), "k": (4, 16), "c": (0.01, 0.2)}
VIBRATION_TEST = {"m": (0.01, 0.05), "k": (2, 18), "c": (0.01, 0.3)}
# In the paper's letters: a growth of prey, b predation, c growth of predators, d their death.
PREDATION = {"alpha": (20, 50), "beta": (80, 120), "delta": (80, 120), "gamma": (20, 50)}
PREDATION_TEST = {"alpha": (10, 60), "beta": (70, 130), "delta": (70, 130), "gamma": (10, 60)}
PHASE = {"phase": (-math.pi / 6, math.pi / 6)}


def scaled(data: xr.Dataset, values: np.ndarray) -> np.ndarray:
    low, high = data.attrs["scale_minimum"], data.attrs["scale_maximum"]
    return 2.0 * (values - low) / (high - low) - 1.0


def published_errors(data: xr.Dataset, predicted: np.ndarray) -> tuple[float, float]:
    """Return mean squared and mean absolute error, x 1e-2, as the paper counts them."""
    (context,) = set(data.context_samples.values.tolist())
    difference = scaled(data, predicted) - scaled(data, data.observed.values)
    after = difference[:, context:]
    return 100.0 * float(np.mean(after**2)), 100.0 * float(np.mean(np.abs(after)))


def own_draws(data: xr.Dataset, ranges: dict[str, tuple[float, float]]) -> np.ndarray:
    """Return where each parameter lies in its range, from 0 to 1, (trajectory, parameter)."""
    low, high = np.array(list(ranges.values()), dtype=float).T
    return (data.true_parameters.sel(parameter=list(ranges)).values - low) / (high - low)


class TestNumbers:
    @pytest.mark.parametrize(
        ("name", "split", "n"),
        [
            ("paper_msd", "test", 4096),
            ("paper_msd_zero", "train", 8192),
            ("paper_msd_zero", "validation", 2048),
            ("paper_sine", "train", 10000),
            ("paper_sine", "test", 1000),
            ("paper_sine_tiny", "train", 1),
            ("paper_sine_small", "train", 10),
            ("paper_sine_medium", "train", 100),
            ("paper_sine_large", "train", 1000),
            ("paper_sine_huge", "train", 10000),
            ("paper_sine_tiny", "validation", 1000),
        ],
    )
    def test_the_published_number_of_trajectories(self, name, split, n):
        assert paper_data(name, split=split).sizes["trajectory"] == n

    @pytest.mark.parametrize("name", FAMILIES)
    def test_times_run_from_0_to_1(self, name):
        data = paper_data(name, n=2)
        samples = 16 if name == "paper_sine" else 256
        np.testing.assert_allclose(data.time, np.linspace(0, 1, samples), rtol=1e-15)
        assert data.observed.shape == (2, samples, 1 if name == "paper_sine" else 2)

    @pytest.mark.parametrize(
        ("name", "inside", "outside"),
        [
            ("paper_msd", VIBRATION, VIBRATION_TEST),
            ("paper_msd_zero", VIBRATION, VIBRATION_TEST),
            ("paper_lv_repeat_copy", PREDATION, PREDATION_TEST),
            ("paper_sine", PHASE, PHASE),
        ],
    )
    def test_the_published_ranges(self, name, inside, outside):
        for split, ranges in (("train", inside), ("validation", inside), ("test", outside)):
            position = own_draws(paper_data(name, split=split, n=150), ranges)
            assert (position.min(axis=0) > 0.0).all()
            assert (position.max(axis=0) < 1.0).all()
            assert (position.min(axis=0) < 0.08).all()
            assert (position.max(axis=0) > 0.92).all()

    def test_the_published_initial_states(self):
        assert (paper_data("paper_msd", n=50).true_initial_state == [1.0, 0.0]).all()
        assert (paper_data("paper_lv_repeat_copy", n=50).true_initial_state == 1.0).all()
        starts = paper_data("paper_msd_zero", n=500).true_initial_state - [1.0, 0.0]
        assert 0.49 < abs(starts).min() + abs(starts).max() < 0.51


class TestLevels:
    """What trivial predictors score is a property of the data that the paper's table rests on."""

    @pytest.mark.parametrize(
        ("name", "zero", "hold"),
        [
            ("paper_msd", (1.41, 5.67), (3.98, 10.1)),
            ("paper_msd_zero", (0.77, 4.03), (2.20, 7.2)),
        ],
    )
    def test_zero_and_the_last_context_value(self, name, zero, hold):
        data = paper_data(name, split="test", n=4096)
        values = data.observed.values
        # The spread between draws is 2.5 % in MSD's squared error.
        assert published_errors(data, 0.0 * values) == pytest.approx(zero, rel=0.12)
        assert published_errors(data, values[:, 99:100]) == pytest.approx(hold, rel=0.12)

    @pytest.mark.parametrize("name", ["paper_msd", "paper_msd_zero"])
    def test_the_scale_is_that_of_the_training_set(self, name):
        data = paper_data(name, n=4096)
        low, high = float(data.observed.min()), float(data.observed.max())
        assert low == pytest.approx(data.attrs["scale_minimum"], rel=0.05)
        assert high == pytest.approx(data.attrs["scale_maximum"], rel=0.05)

    def test_the_scale_of_the_repeat_copy_targets(self):
        data = paper_data("paper_lv_repeat_copy", n=300)
        assert float(data.target_sequence.min()) == data.attrs["scale_minimum"] == 0.0
        largest = float(data.target_sequence.max())
        assert largest == pytest.approx(data.attrs["scale_maximum"], rel=0.15)

    def test_a_linear_map_fitted_to_the_context_is_exact(self):
        data = paper_data("paper_msd", split="test", n=50)
        values = data.observed.values
        predicted = values.copy()
        for row in predicted:
            step = np.linalg.lstsq(row[:99], row[1:100])[0]
            for sample in range(100, 256):
                row[sample] = row[sample - 1] @ step
        assert published_errors(data, predicted)[0] < 1e-18

    def test_sine(self):
        data = paper_data("paper_sine", split="test")
        assert (data.attrs["scale_minimum"], data.attrs["scale_maximum"]) == (-1.0, 1.0)
        values, angle = data.observed.values, 2.0 * np.pi * data.time.values[:, None]
        assert published_errors(data, 0.0 * values)[0] == pytest.approx(50.0, rel=0.01)
        without_phase = np.broadcast_to(np.sin(angle), values.shape)
        assert published_errors(data, without_phase)[0] == pytest.approx(4.5, rel=0.1)
        phase = np.arcsin(values[:, :1])
        assert published_errors(data, np.sin(angle + phase))[0] < 1e-26


class TestRepeatCopy:
    def test_it_is_the_cycle_again_and_again(self):
        data = paper_data("paper_lv_repeat_copy", n=200)
        for row in range(200):
            length = int(data.context_samples[row])
            whole = data.observed.values[row]
            given = np.zeros_like(whole)
            given[:length] = whole[:length]
            target = np.zeros_like(whole)
            for first in range(0, 256, length + 50):
                there = min(length, 256 - first)
                target[first : first + there] = whole[:there]
            assert np.array_equal(data.input_sequence[row], given)
            assert np.array_equal(data.target_sequence[row], target)

    def test_32_to_63_samples_are_shown(self):
        lengths = paper_data("paper_lv_repeat_copy", n=300).context_samples.values
        assert set(lengths.tolist()) == set(range(32, 64))

    def test_a_small_one_by_hand(self):
        values = np.arange(1.0, 8.0).reshape(1, 7, 1)
        given, target = repeat_copy(values, np.array([2]), gap=1)
        assert given.ravel().tolist() == [1, 2, 0, 0, 0, 0, 0]
        assert target.ravel().tolist() == [1, 2, 0, 1, 2, 0, 1]

    def test_the_trajectories_obey_the_equations(self):
        data = paper_data("paper_lv_repeat_copy", split="test", n=20)
        assert (data.status == 0).all()
        for row in np.argsort(data.observed.min(["time", "output"]).values)[:8]:
            alpha, beta, gamma, delta = data.true_parameters.values[row]

            def rhs(t, y, a=alpha, b=beta, g=gamma, d=delta):
                return [(a - b * y[1]) * y[0], (d * y[0] - g) * y[1]]

            exact = solve_ivp(
                rhs, (0, 1), [1, 1], "DOP853", data.time.values, rtol=1e-12, atol=1e-18
            ).y.T
            difference = np.abs(data.observed.values[row] - exact).max()
            assert difference < 1e-7 * exact.max()


class TestRandomness:
    @pytest.mark.parametrize("name", FAMILIES)
    def test_everybody_has_the_same_data(self, name):
        first, again = paper_data(name, n=20), paper_data(name, n=20)
        xr.testing.assert_equal(first, again)

    @pytest.mark.parametrize("name", FAMILIES)
    def test_the_first_ones_are_the_same_whatever_n(self, name):
        few, many = paper_data(name, n=5), paper_data(name, n=15)
        xr.testing.assert_allclose(few, many.isel(trajectory=slice(5)), rtol=1e-12)
        assert np.array_equal(few.true_parameters, many.true_parameters[:5])

    def test_known_draws(self):
        masses = paper_data("paper_msd", n=3).true_parameters.sel(parameter="m")
        np.testing.assert_allclose(masses, [0.0258024577, 0.0300969817, 0.0211786398], rtol=1e-8)

    def test_the_sizes_of_sine_lie_in_each_other(self):
        whole = paper_data("paper_sine")
        xr.testing.assert_equal(paper_data("paper_sine_huge"), whole)
        xr.testing.assert_equal(paper_data("paper_sine_small"), whole.isel(trajectory=slice(10)))
        for split in ("validation", "test"):
            held_out = paper_data("paper_sine_tiny", split=split)
            xr.testing.assert_equal(held_out, paper_data("paper_sine", split=split))

    def test_no_split_is_a_rescaled_copy_of_another(self):
        draws = [
            own_draws(paper_data("paper_msd", split="train", n=500), VIBRATION),
            own_draws(paper_data("paper_msd", split="validation", n=500), VIBRATION),
            own_draws(paper_data("paper_msd", split="test", n=500), VIBRATION_TEST),
            own_draws(paper_data("paper_msd_zero", split="train", n=500), VIBRATION),
            own_draws(paper_data("paper_msd", seed=1, n=500), VIBRATION),
        ]
        related = np.corrcoef(np.hstack(draws).T) - np.eye(15)
        # The standard deviation of a correlation of 500 independent pairs is 0.045.
        assert np.abs(related).max() < 0.2

    def test_the_seed_makes_another_set_and_is_written_down(self):
        data = paper_data("paper_msd_zero", n=4, seed=7)
        assert data.attrs["seed"] == 7
        xr.testing.assert_equal(data, paper_data("paper_msd_zero", n=4, seed=data.attrs["seed"]))
        assert not np.array_equal(data.observed, paper_data("paper_msd_zero", n=4).observed)


class TestLabels:
    @pytest.mark.parametrize("name", FAMILIES)
    def test_it_is_a_data_set_of_the_schema(self, name, tmp_path):
        data = paper_data(name, split="test", n=3)
        needs = ["observed", "true_parameters", "context_samples"]
        if name == "paper_lv_repeat_copy":
            needs += ["input_sequence", "target_sequence"]
        check_dataset(data, needs, system=get_system(data.attrs["system"]))
        assert all("long_name" in variable.attrs for variable in data.variables.values())
        save(data, tmp_path / "data.nc")
        xr.testing.assert_identical(load(tmp_path / "data.nc"), data)

    def test_it_says_what_it_is(self):
        data = paper_data("paper_msd", split="test", n=3)
        assert data.attrs["title"] == "MSD of the WARP paper, test split"
        assert "arXiv:2506.01153" in data.attrs["references"]
        called = json.loads(data.attrs["settings"])
        assert (called["name"], called["split"], called["n"]) == ("paper_msd", "test", 3)
        assert called["parameters"]["m"] == [0.01, 0.05]


class TestComplaints:
    def test_names(self):
        assert set(FAMILIES) < set(paper_data_names())
        with pytest.raises(UnknownNameError, match="did you mean 'paper_msd'"):
            paper_data("paper_mds")
        with pytest.raises(UnknownNameError, match="unknown split 'tests'; did you mean 'test'"):
            paper_data("paper_msd", split="tests")

    @pytest.mark.parametrize(("options", "text"), [({"n": 0}, "got 0"), ({"seed": -1}, "got -1")])
    def test_numbers(self, options, text):
        with pytest.raises(UsageError, match=text):
            paper_data("paper_msd", **options)
