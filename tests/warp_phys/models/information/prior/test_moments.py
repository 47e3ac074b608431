"""Moments of priors in coordinates, against closed forms and quadrature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate as quadrature
from scipy import stats

import warp_phys as wp
from warp_phys.data_gen import log_normal, log_uniform, normal, truncated_normal, uniform
from warp_phys.models.information.prior.moments import InCoordinates, moments
from warp_phys.systems.errors import UnknownNameError, UsageError
from warp_phys.systems.model.supports import Support


def logit(value: float) -> float:
    return float(np.log((value + 1.0) / (2.0 - value)))  # of the interval (-1, 2)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (log_normal(3.0, 0.4), (np.log(3.0), 0.4)),
        (log_uniform(0.1, 10.0), (0.0, np.log(100.0) / 12**0.5)),
        (torch.distributions.LogNormal(-1.0, 0.2), (-1.0, 0.2)),
        (InCoordinates(0.7, 0.1), (0.7, 0.1)),
        # Of the logarithm of a gamma variable: digamma and trigamma functions of its shape 4.
        (
            torch.distributions.Gamma(4.0, 2.0),
            (1.2561176684318 - np.log(2.0), 0.28382295573711**0.5),
        ),
        (stats.gamma(4.0, scale=0.5), (1.2561176684318 - np.log(2.0), 0.28382295573711**0.5)),
    ],
)
def test_of_the_logarithm_in_closed_form(given: Any, expected: tuple[float, float]) -> None:
    mean, sd = moments("x", given, "positive")
    # Without quantiles, 40,000 draws stand for the distribution.
    drawn = isinstance(given, torch.distributions.Gamma)
    assert abs(mean - expected[0]) < (0.015 if drawn else 1e-3) * expected[1]
    assert abs(sd / expected[1] - 1.0) < (0.015 if drawn else 3e-3)


@pytest.mark.parametrize(
    ("given", "support", "coordinate"),
    [
        (truncated_normal(1.0, 0.5), "positive", np.log),
        (uniform(0.5, 4.0), "positive", np.log),
        (truncated_normal(0.5, 1.0, -1.0, 2.0), (-1.0, 2.0), logit),
        (stats.beta(2.0, 3.0, loc=-1.0, scale=3.0), (-1.0, 2.0), logit),
        (normal(-4.0, 3.0), "real", float),
    ],
)
def test_by_quadrature(given: Any, support: Support, coordinate: Callable[[float], float]) -> None:
    low, high = given.support()
    low, high = max(low, given.ppf(1e-12)), min(high, given.ppf(1.0 - 1e-12))

    def expectation(power: int, center: float) -> float:
        return float(
            quadrature.quad(
                lambda x: (coordinate(x) - center) ** power * given.pdf(x), low, high, limit=400
            )[0]
        )

    mean = expectation(1, 0.0)
    sd = expectation(2, mean) ** 0.5
    found = moments("x", given, support)
    assert abs(found[0] - mean) < 2e-3 * sd
    assert abs(found[1] / sd - 1.0) < 1e-2


def test_a_range_is_uniform_in_the_value() -> None:
    assert moments("x", (0.5, 4.0), "positive") == moments("x", uniform(0.5, 4.0), "positive")
    mean, sd = moments("x", (-1.0, 3.0), "real")
    assert abs(mean - 1.0) < 1e-12
    assert abs(sd / (4.0 / 12**0.5) - 1.0) < 1e-3


def test_the_random_numbers_of_others_are_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = moments("x", torch.distributions.Gamma(4.0, 2.0), "positive")
    assert torch.equal(torch.rand(3), expected)
    assert moments("x", torch.distributions.Gamma(4.0, 2.0), "positive") == first


@pytest.mark.parametrize(
    ("given", "support", "message"),
    [
        (normal(1.0, 1.0), "positive", r"outside its support \(positive\)"),
        (uniform(0.5, 3.0), (0.0, 2.0), r"outside its support \(in \[0, 2\]\), such as 2\.0"),
        ((2.0, 2.0), "positive", "is one value"),
    ],
)
def test_what_cannot_be_a_prior(given: Any, support: Support, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        moments("x", given, support)


@pytest.mark.parametrize(
    ("priors", "error", "message"),
    [
        ({"alpha": 1.0}, UsageError, r"expected priors\['alpha'\] as a distribution"),
        ({"alpha": [0.5, 1.0]}, UsageError, "as a distribution"),
        (
            {"alpha": (2.0, 1.0)},
            UsageError,
            r"low < high; got \(2.0, 1.0\)",
        ),
        ({"alpha": (1.0, np.inf)}, UsageError, "low < high"),
        ({"alpha": ("a", "b")}, UsageError, "low < high"),
        ({"alpha": torch.distributions.Normal(torch.zeros(3), 1.0)}, UsageError, "one quantity"),
        ({"alpha": stats.norm([1.0, 2.0], 0.1)}, UsageError, "got 2 of them"),
        ({"alfa": normal(1.0, 0.1)}, UnknownNameError, "alpha"),
        ({"prey": log_normal(1.0, 0.1)}, UnknownNameError, r"prey\(0\)"),
        ({"noise_sd(wolf)": log_normal(1.0, 0.1)}, UnknownNameError, "noise_sd"),
        ([("alpha", 1.0)], UsageError, "mapping from name"),
    ],
)
def test_mistakes_are_named_when_the_model_is_made(
    priors: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        wp.WarpPhys("lotka_volterra", priors=priors)
