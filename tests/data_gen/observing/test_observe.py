"""Noise and gaps: the levels asked for, where they were asked for."""

import numpy as np
import pytest
from scipy import stats

from warp_phys.data_gen import log_normal
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.data_gen.observing.observe import (
    add_noise,
    cannot_be_noisy,
    check_samples,
    noise_levels,
    not_noisy_error,
    remove_missing,
)
from warp_phys.systems.errors import UnknownNameError, UsageError
from warp_phys.systems.noise.registry import as_noise

NAMES = ["x", "v"]
NORMAL, LOGNORMAL = as_noise("normal"), as_noise("lognormal")


def waves(n=200, samples=50):
    """Return outputs (n, samples, 2) whose spread differs between trajectories and outputs."""
    phase = np.linspace(0.0, 6.0, samples) + np.arange(n)[:, None]
    size = 1.0 + np.arange(n)[:, None]
    return np.stack([size * np.sin(phase), 10.0 + np.cos(phase)], axis=2)


def levels(noiseless, noise, distribution="normal", names=NAMES):
    return noise_levels(noiseless, names, NAMES, noise, as_noise(distribution), Streams(0))


class TestLevels:
    def test_a_number_is_relative_to_each_trajectorys_own_spread(self):
        noiseless = waves()
        np.testing.assert_allclose(
            levels(noiseless, 0.1), 0.1 * noiseless.std(axis=1), rtol=1e-12, atol=0
        )

    @pytest.mark.parametrize("outputs", [1, 2])
    def test_what_it_is_measured_on_stays_as_it_is(self, outputs):
        noiseless = waves()[:, :, :outputs].copy()
        kept = noiseless.copy()
        noise_levels(noiseless, NAMES[:outputs], NAMES, 0.1, NORMAL, Streams(0))
        np.testing.assert_array_equal(noiseless, kept)

    def test_a_number_is_the_logarithms_own_for_lognormal(self):
        assert (levels(waves(), 0.25, "lognormal") == 0.25).all()

    def test_a_mapping_is_absolute_and_none_where_left_out(self):
        own = np.linspace(0.1, 1.0, 200)
        assert np.array_equal(levels(waves(), {"v": own}), np.c_[np.zeros(200), own])

    def test_levels_may_be_drawn(self):
        drawn = levels(waves(), {"x": log_normal(0.4, 1.0), "v": (1.0, 2.0)})
        assert stats.kstest(np.log(drawn[:, 0] / 0.4), "norm").pvalue > 1e-3
        assert stats.kstest(drawn[:, 1] - 1.0, "uniform").pvalue > 1e-3

    def test_what_failed_early_counts_as_far_as_it_got(self):
        noiseless = waves(3)
        noiseless[1, 20:] = np.nan
        noiseless[2, :] = np.nan
        expected = 0.1 * noiseless[:2, :20].std(axis=1)[1]
        np.testing.assert_allclose(levels(noiseless, 0.1)[1], expected, rtol=1e-12)
        assert (levels(noiseless, 0.1)[2] == 0).all()

    def test_huge_values_do_not_overflow(self):
        noiseless = waves(2) * 1e300
        np.testing.assert_allclose(levels(noiseless, 1.0), waves(2).std(axis=1) * 1e300)

    def test_a_constant_output_gets_none(self):
        assert (levels(np.full((2, 5, 2), 3.0), 0.1) == 0).all()

    @pytest.mark.parametrize(
        ("noise", "distribution", "error", "text"),
        [
            (-0.1, "normal", UsageError, "expected noise of 0 or more, got -0.1"),
            ({"x": -1.0}, "normal", UsageError, "levels of 0 or more, got -1 for output 'x' of tr"),
            ({"x": np.nan}, "normal", UsageError, "got nan for output 'x' of trajectory 0"),
            ({"y": 1.0}, "normal", UnknownNameError, "unknown output 'y'"),
            ([0.1, 0.2], "normal", UsageError, "a mapping from output to its own"),
            (log_normal(1.0, 1.0), "normal", UsageError, "expected noise as a number"),
        ],
    )
    def test_what_does_not_fit_says_why(self, noise, distribution, error, text):
        with pytest.raises(error, match=text):
            levels(waves(), noise, distribution)

    def test_one_sample_has_no_spread(self):
        for noise, distribution in ((0.0, "normal"), (0.1, "lognormal"), ({"x": 0.1}, "normal")):
            check_samples(np.zeros(1), NAMES, noise, as_noise(distribution))
        with pytest.raises(UsageError, match="at least two samples; give an absolute one"):
            check_samples(np.zeros(1), NAMES, 0.1, NORMAL)

    def test_nor_has_a_single_one_on_its_own_grid(self):
        grid = np.array([[0.0, 1.0], [0.0, np.nan]])
        with pytest.raises(UsageError, match="two samples, trajectory 8 has one; give an absolute"):
            check_samples(grid, NAMES, 0.1, NORMAL, first=7)


class TestNoise:
    @pytest.mark.parametrize("distribution", ["normal", "lognormal"])
    def test_its_level_is_the_one_asked_for(self, distribution):
        noiseless = np.exp(0.1 * waves(400))
        level = levels(noiseless, {"x": (0.1, 0.5), "v": 0.3}, distribution)
        observed = add_noise(noiseless, level, NAMES, as_noise(distribution), Streams(1))
        error = observed - noiseless if distribution == "normal" else np.log(observed / noiseless)
        z = error / level[:, None]
        for column in range(2):
            assert stats.kstest(z[:, :, column].ravel(), "norm").pvalue > 1e-3
        sums = (z**2).sum(axis=(1, 2))
        assert stats.kstest(sums, stats.chi2(100).cdf).pvalue > 1e-3
        assert abs(np.corrcoef(z[:, :, 0].ravel(), z[:, :, 1].ravel())[0, 1]) < 0.03

    def test_none_means_none(self):
        noiseless = -waves()
        zero = np.zeros((200, 2))
        for distribution in ("normal", "lognormal"):
            observed = add_noise(noiseless, zero, NAMES, as_noise(distribution), Streams(0))
            assert np.array_equal(observed, noiseless)

    def test_lognormal_noise_needs_positive_values(self):
        noiseless = np.full((3, 4, 2), 2.0)
        noiseless[1, 2, 1] = 0.0
        loud = np.ones((3, 2))
        observed = add_noise(noiseless, loud, NAMES, LOGNORMAL, Streams(0))
        assert np.argwhere(np.isnan(observed)).tolist() == [[1, 2, 1]]
        lost = cannot_be_noisy(noiseless, loud, LOGNORMAL)
        assert lost.tolist() == [False, True, False]
        assert not cannot_be_noisy(noiseless, loud, NORMAL).any()
        error = not_noisy_error(noiseless, loud, NAMES, LOGNORMAL, 0)
        assert "'v' = 0 at sample 2 of trajectory 1, and no" in str(error)
        quiet = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        observed = add_noise(noiseless, quiet, NAMES, LOGNORMAL, Streams(0))
        assert observed[1, 2, 1] == 0.0

    def test_what_is_not_there_stays_so(self):
        noiseless = np.full((2, 3, 2), np.nan)
        assert np.isnan(add_noise(noiseless, np.ones((2, 2)), NAMES, LOGNORMAL, Streams(0))).all()


class TestMissing:
    def test_the_share_is_the_one_asked_for(self):
        observed = remove_missing(waves(), NAMES, NAMES, {"x": 0.3}, Streams(0))
        gone = np.isnan(observed)
        assert not gone[..., 1].any()
        assert stats.binomtest(int(gone[..., 0].sum()), gone[..., 0].size, 0.3).pvalue > 1e-3
        per_trajectory = gone[..., 0].sum(axis=1)
        assert abs(per_trajectory.var() / (50 * 0.3 * 0.7) - 1) < 0.3
        assert np.array_equal(observed[~gone], waves()[~gone])

    def test_one_number_holds_for_all(self):
        gone = np.isnan(remove_missing(waves(), NAMES, NAMES, 0.5, Streams(0)))
        assert stats.binomtest(int(gone.sum()), gone.size, 0.5).pvalue > 1e-3
        assert (gone[..., 0] != gone[..., 1]).any()

    @pytest.mark.parametrize(
        ("missing", "error", "text"),
        [
            (1.0, UsageError, "expected missing as a fraction from 0 to below 1, got 1"),
            (-0.1, UsageError, "expected missing of 0 or more"),
            ({"x": "many"}, UsageError, "expected missing as a number"),
            ({"w": 0.1}, UnknownNameError, "unknown output 'w'"),
        ],
    )
    def test_what_does_not_fit_says_why(self, missing, error, text):
        with pytest.raises(error, match=text):
            remove_missing(waves(), NAMES, NAMES, missing, Streams(0))
