"""Random streams: reproducible, independent of each other, never 0 or 1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.systems import UsageError

seeds = st.integers(0, 2**63 - 1)


@given(seeds, st.text(max_size=8), st.integers(1, 50), st.integers(1, 50), st.integers(1, 7))
def test_the_first_trajectories_are_the_same_whatever_their_number(seed, name, n, more, each):
    few = Streams(seed).uniform(name, n, each)
    many = Streams(seed).uniform(name, n + more, each)
    assert np.array_equal(few, many[:n])


@given(seeds, st.text(max_size=8), st.integers(0, 10**12), st.integers(1, 50), st.integers(1, 7))
def test_a_block_is_that_part_of_the_whole(seed, name, first, n, each):
    start = first % 100
    whole = Streams(seed).uniform(name, start + n, each)
    assert np.array_equal(Streams(seed, start).uniform(name, n, each), whole[start:])
    far = Streams(seed, first).uniform(name, n + 1, each)
    assert np.array_equal(Streams(seed, first + 1).uniform(name, n, each), far[1:])


@given(seeds, st.integers(0, 99), st.sets(st.integers(0, 20_000), min_size=1), st.integers(1, 9))
def test_single_rows_are_those_of_the_whole(seed, first, rows, each):
    rows = np.array(sorted(rows))
    streams = Streams(seed, first)
    whole = streams.uniform("x", rows[-1] + 1, each)
    assert np.array_equal(streams.uniform_at("x", rows, each), whole[rows])


@given(seeds)
def test_numbers_are_inside_the_open_interval(seed):
    numbers = Streams(seed).uniform("x", 1000)
    assert (numbers > 0).all()
    assert (numbers < 1).all()


def test_numbers_are_uniform_and_streams_independent():
    one, other = (Streams(0).uniform(name, 50_000)[:, 0] for name in ("one", "other"))
    assert stats.kstest(one, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(50_000)
    next_seed = Streams(1).uniform("one", 50_000)[:, 0]
    assert abs(np.corrcoef(one, next_seed)[0, 1]) < 4 / np.sqrt(50_000)


def test_the_numbers_stay_what_they_are():
    """A saved seed must mean the same data set in every later version."""
    numbers = Streams(0).uniform("parameter alpha", 3)[:, 0]
    assert numbers.tolist() == [0.8601758023528806, 0.033827385145401734, 0.2554722371674757]


def test_a_fresh_seed_can_be_used_again():
    fresh = Streams()
    assert fresh.seed != Streams().seed
    assert np.array_equal(fresh.uniform("x", 5), Streams(fresh.seed).uniform("x", 5))


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "0", True])
def test_other_seeds_are_refused(seed):
    with pytest.raises(UsageError, match="expected seed"):
        Streams(seed)
