"""The recurrence on a linear model, where its estimates are those of Bayesian regression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.warp_phys.models.information.linear_model import (
    LEVELS,
    NAMES,
    PRIORS,
    TIMES,
    Line,
    lines,
    posterior,
)
from warp_phys.data_gen import log_normal
from warp_phys.models.information import estimator as information_estimator


def estimated(data: xr.Dataset, **options: Any) -> xr.Dataset:
    return wp.estimate(wp.WarpPhys(Line(), priors=PRIORS, **options), data, progress=False)


def test_every_sample_has_the_exact_posterior() -> None:
    data = lines(6, seed=1)
    found = estimated(data, noise_sd=LEVELS)
    levels = np.array(list(LEVELS.values()))
    for row in range(6):
        for sample in range(len(TIMES)):
            seen = data["observed"].values[row, : sample + 1]
            mean, covariance = posterior(TIMES[: sample + 1], seen, levels)
            at = found.isel(trajectory=row, time=sample)
            spread = np.sqrt(np.diag(covariance))
            assert (abs(at["unknowns"] - mean) < 1e-8 * spread).all()
            difference = at["unknowns_covariance"] - covariance
            assert (abs(difference) < 1e-8 * np.outer(spread, spread)).all()
            np.testing.assert_allclose(at["parameters_upper"], mean + 1.6448536269514722 * spread)


def test_a_level_of_each_value_weights_it() -> None:
    data = lines(1, seed=2, missing=0.0)
    levels = np.ones((1, len(TIMES), 2))
    levels[0, 5:, 0] = 1e6  # values that say nothing
    found = estimated(data, noise_sd=levels)
    seen = data["observed"].values[0].copy()
    seen[5:, 0] = np.nan
    mean, covariance = posterior(TIMES, seen, np.ones(2))
    np.testing.assert_allclose(found["unknowns"].values[0, -1], mean, rtol=1e-6)
    np.testing.assert_allclose(found["unknowns_covariance"].values[0, -1], covariance, rtol=1e-6)


@pytest.mark.parametrize("noise_sd", ["each", "common"])
def test_bands_cover_where_the_noise_is_unknown(noise_sd: str) -> None:
    noise: dict[str, Any] = {"line": log_normal(0.3, 0.5), "curve": log_normal(0.3, 0.5)}
    if noise_sd == "common":
        noise = {"line": 0.3, "curve": 0.3}
    data = lines(1500, seed=3, noise=noise, missing=0.0)
    prior = PRIORS | {"noise_sd": log_normal(0.3, 0.5)}
    model = wp.WarpPhys(Line(), priors=prior, noise_sd=noise_sd)
    found = wp.estimate(model, data, progress=False)
    truth = data["true_parameters"]
    inside = (found["parameters_lower"] <= truth) & (truth <= found["parameters_upper"])
    share = inside.mean("trajectory").isel(time=[1, 2, 4, 9, 24])
    # The seed is fixed; for 1500 records a share has a standard deviation of 0.8 %. After two and
    # three samples, with fewer degrees of freedom than two, bands are a little too wide.
    assert (abs(share[2:] - 0.9) < 0.024).all(), share.values
    assert ((share[:2] > 0.876) & (share[:2] < 0.965)).all(), share.values
    ratio = np.log(found["noise_sd"] / data["true_noise_sd"]).isel(time=-1)
    # The spread of a level's logarithm is (2 n)^(-1/2).
    assert (abs(ratio.mean("trajectory")) < 0.03).all()
    assert (ratio.std("trajectory") < 1.1 * 50**-0.5).all()


def test_a_record_is_the_same_alone_and_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    data = lines(7, seed=4)
    whole = estimated(data)
    for size in (1, 3):
        monkeypatch.setattr(information_estimator, "_TOGETHER", size)
        blocks = estimated(data)
        for name in whole.data_vars:
            np.testing.assert_allclose(blocks[name], whole[name], rtol=1e-12, atol=0.0)


def test_the_order_of_the_outputs_does_not_matter() -> None:
    data = lines(3, seed=5)
    one, other = estimated(data), estimated(data.isel(output=[1, 0]))
    np.testing.assert_allclose(other["parameters"], one["parameters"], rtol=1e-10)
    np.testing.assert_allclose(
        other["noise_sd"].sel(output=["line", "curve"]), one["noise_sd"], rtol=1e-9
    )
    assert list(one["unknown"].values) == [*NAMES, "line", "curve"]
