"""Supports: bijections to the real line, membership, words."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from warp_phys.systems import UsageError
from warp_phys.systems.model.supports import (
    bounds,
    contains,
    contains_number,
    describe,
    to_physical,
    to_unconstrained,
)

SUPPORTS = ["real", "positive", (-1.5, 4.0), (2.0, math.inf), (-math.inf, 3.0)]


@pytest.mark.parametrize("support", SUPPORTS)
@given(value=st.floats(-8.0, 8.0))
def test_to_the_support_and_back(support, value: float) -> None:
    line = torch.tensor([value], dtype=torch.float64)
    physical = to_physical(line, support)
    assert contains(physical, support).all()
    torch.testing.assert_close(to_unconstrained(physical, support), line, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("support", SUPPORTS)
def test_numbers_and_tensors_agree_on_what_is_inside(support) -> None:
    low, high = bounds(support)
    for value in (-3.0, -1.5, 0.0, 2.0, 3.0, 4.0, 5.0, low, high, math.nan):
        tensor = contains(torch.tensor([value], dtype=torch.float64), support)
        assert bool(tensor) == contains_number(value, support)


def test_no_step_leaves_the_support() -> None:
    far = torch.tensor([-1e3, 1e3], dtype=torch.float64)
    inside = to_physical(far, (-1.5, 4.0))
    assert ((inside >= -1.5) & (inside <= 4.0)).all()


@pytest.mark.parametrize("support", ["postive", (2.0, 1.0), (1.0,), 3.0, (1.0, math.nan), None])
def test_a_wrong_support_says_what_is_right(support) -> None:
    with pytest.raises(UsageError, match=r'"real", "positive" or \(low, high\)'):
        bounds(support)


def test_supports_in_words() -> None:
    words = [describe(support) for support in SUPPORTS]
    assert words == ["real", "positive", "in [-1.5, 4]", "above 2", "below 3"]
