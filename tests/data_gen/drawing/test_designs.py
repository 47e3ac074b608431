"""Designs: more even than chance, and the same for any block."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

from warp_phys.data_gen import Design, normal, simulate
from warp_phys.data_gen.drawing.designs.registry import shipped_designs, unit_points
from warp_phys.data_gen.drawing.permutation import permuted
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.data_gen.drawing.sampling import sample
from warp_phys.systems import get_system
from warp_phys.systems.errors import UsageError

LOTKA_VOLTERRA = get_system("lotka_volterra")
NAMES = ["a", "b", "c", "d"]
seeds = st.integers(0, 2**63 - 1)


def points(sampling, n=256, seed=0, names=NAMES):
    return unit_points(Streams(seed), names, n, n, sampling)


@pytest.mark.parametrize("sampling", ["sobol", "latin_hypercube"])
def test_it_is_more_even_than_chance(sampling):
    chance = np.median([qmc.discrepancy(points("random", seed=seed)) for seed in range(9)])
    for seed in range(3):
        share = qmc.discrepancy(points(sampling, seed=seed)) / chance
        assert share < {"sobol": 0.1, "latin_hypercube": 0.8}[sampling]


@pytest.mark.parametrize("sampling", shipped_designs())
@pytest.mark.parametrize("n", [1, 2, 3, 100, 50_000])
def test_points_are_inside_the_open_cube(sampling, n):
    values = points(sampling, n)
    assert values.shape == (n, 4)
    assert (values > 0).all()
    assert (values < 1).all()
    assert points(sampling, n, names=[]).shape == (n, 0)


@pytest.mark.parametrize("sampling", shipped_designs())
def test_each_column_is_uniform_and_free_of_the_others(sampling):
    values = points(sampling, 20_000, seed=5)
    for column in values.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    correlation = np.corrcoef(values.T)[np.triu_indices(4, 1)]
    assert (np.abs(correlation) < 4 / np.sqrt(20_000)).all()


@settings(max_examples=30)
@given(seeds, st.integers(1, 300))
def test_a_latin_hypercube_has_one_point_in_each_stratum(seed, n):
    strata = np.floor(points("latin_hypercube", n, seed) * n)
    assert np.array_equal(np.sort(strata, axis=0), np.arange(n)[:, None] + np.zeros(4))


@given(seeds, st.integers(1, 10**6))
def test_strata_are_permuted_whatever_their_number(seed, n):
    n = 1 + n % 2000
    places = permuted(np.arange(n), n, Streams(seed), "x")
    assert np.array_equal(np.sort(places), np.arange(n))


def test_every_permutation_is_as_likely():
    """Of all 24 orders of four, and of the place of each of 50."""
    orders = [tuple(permuted(np.arange(4), 4, Streams(seed), "x")) for seed in range(2400)]
    counts = list({order: orders.count(order) for order in orders}.values())
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3
    places = np.array([permuted(np.arange(50), 50, Streams(seed), "x") for seed in range(1000)])
    table = np.stack([np.bincount(column, minlength=50) for column in places.T])
    assert stats.chi2.sf(((table - 20.0) ** 2 / 20.0).sum(), 49 * 49) > 1e-3


def test_neighbors_are_as_far_apart_as_chance_has_them():
    places = permuted(np.arange(100_000), 100_000, Streams(0), "x") / 100_000
    for lag in (1, 2, 256):
        assert abs(np.corrcoef(places[:-lag], places[lag:])[0, 1]) < 4 / np.sqrt(100_000)


@given(seeds, st.integers(1, 50), st.integers(1, 50))
def test_the_first_sobol_points_are_the_same_whatever_n(seed, n, more):
    few = points("sobol", n, seed)
    assert np.array_equal(few, points("sobol", n + more, seed)[:n])


def test_sobol_points_balance():
    """A power of 2 of them: each dyadic box of a column holds as many, for any seed."""
    counts = [np.histogram(column, 64, (0, 1))[0] for column in points("sobol", 128, 9).T]
    assert np.array_equal(counts, np.full((4, 64), 2))
    assert not np.array_equal(points("sobol", seed=1), points("sobol", seed=2))


def test_designs_reach_the_values():
    """Strata of equal probability, whatever the distribution."""
    recipes = {"alpha": normal(5.0, 0.5), "beta": 0.1}
    drawn = sample(LOTKA_VOLTERRA, 50, parameters=recipes, sampling="latin_hypercube", seed=0)
    strata = np.floor(stats.norm.cdf(drawn.parameters[:, 0], 5.0, 0.5) * 50)
    assert sorted(strata) == list(range(50))
    assert (drawn.parameters[:, 1] == 0.1).all()


def test_means_converge_faster():
    """The error of a mean over n points: about 1/n for Sobol', 1/sqrt(n) for chance."""
    errors = {
        sampling: np.mean(
            [abs(points(sampling, 1024, seed).prod(axis=1).mean() - 1 / 16) for seed in range(8)]
        )
        for sampling in ("random", "sobol")
    }
    assert errors["sobol"] < 0.1 * errors["random"]


@pytest.mark.parametrize("sampling", shipped_designs())
def test_a_block_gets_the_points_it_has_in_the_whole(sampling):
    whole = points(sampling, 50)
    for first, count in ((0, 1), (7, 20), (49, 1)):
        block = unit_points(Streams(0, first), NAMES, 50, count, sampling)
        assert np.array_equal(block, whole[first : first + count])


def test_another_design_is_refused():
    with pytest.raises(UsageError) as error:
        sample(LOTKA_VOLTERRA, 3, seed=0, sampling="sobel")
    names = ", ".join(f'"{name}"' for name in shipped_designs())
    assert str(error.value) == (f"expected sampling as one of {names}, or a Design, got 'sobel'")


class Middle(Design):
    """All trajectories at one point."""

    def __init__(self, place):
        self.place = place

    def points(self, streams, names, n, count):
        return np.full((count, len(names)), self.place)


def test_a_design_of_your_own():
    data = simulate(LOTKA_VOLTERRA, n=2, times=[0.0, 1.0], sampling=Middle(0.5), seed=0)
    middle = [0.5 * sum(entry.range) for entry in LOTKA_VOLTERRA.parameters]
    np.testing.assert_allclose(data.true_parameters, [middle, middle], rtol=1e-15)


def test_a_design_that_leaves_the_cube_or_its_shape_is_refused():
    for place in (0.0, 1.0, np.nan):
        with pytest.raises(UsageError, match=r"Middle\.points should return numbers above 0 and"):
            points(Middle(place))
    with pytest.raises(UsageError, match=r"of shape \(256, 4\); received \(256, 4, 2\)"):
        points(Stacked())


class Stacked(Design):
    """Points with an axis too many."""

    def points(self, streams, names, n, count):
        return np.full((count, len(names), 2), 0.5)
