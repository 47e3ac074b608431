"""Distributions: the right law, and drawn through the streams so that it stays the right law."""

import numpy as np
import pytest
from scipy import stats

from warp_phys.data_gen import log_normal, log_uniform, normal, truncated_normal, uniform
from warp_phys.data_gen.drawing.quantity import draw
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.systems import UsageError

N = 20_000


@pytest.mark.parametrize(
    ("recipe", "distribution"),
    [
        ((2.0, 5.0), stats.uniform(2.0, 3.0).cdf),
        (uniform(-1.0, 1.0), stats.uniform(-1.0, 2.0).cdf),
        (log_uniform(1e-3, 1e3), lambda x: np.log(x / 1e-3) / np.log(1e6)),
        (normal(1.0, 0.5), stats.norm(1.0, 0.5).cdf),
        (log_normal(10.0, 1.0), lambda x: stats.norm.cdf(np.log(x / 10.0))),
        (
            truncated_normal(0.05, 0.05),
            lambda x: (stats.norm.cdf(x / 0.05 - 1) - stats.norm.cdf(-1)) / stats.norm.cdf(1),
        ),
        (truncated_normal(0.0, 1.0, -1.0, 2.0), stats.truncnorm(-1.0, 2.0).cdf),
        (stats.gamma(2.0, scale=3.0), stats.gamma(2.0, scale=3.0).cdf),
    ],
)
def test_draws_follow_the_law(recipe, distribution):
    values = draw(Streams(1), "parameter x", recipe, N)
    assert stats.kstest(values, distribution).pvalue > 1e-3


def test_truncation_holds():
    values = draw(Streams(0), "parameter x", truncated_normal(-3.0, 1.0), N)
    assert (values > 0).all()
    assert np.isfinite(values).all()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: uniform(1.0, 1.0),
        lambda: log_uniform(0.0, 1.0),
        lambda: normal(0.0, -1.0),
        lambda: normal(0.0, np.nan),
        lambda: log_normal(-1.0, 1.0),
        lambda: truncated_normal(0.0, 1.0, 2.0, 1.0),
    ],
)
def test_impossible_ones_are_refused(wrong):
    with pytest.raises(UsageError, match=r"expected finite numbers with .*, got "):
        wrong()
