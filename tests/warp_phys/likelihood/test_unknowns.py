"""The coordinates of unknowns: middles of their ranges, and starts near the ends of supports."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from warp_phys.likelihood.stating.choose_unknowns import choose_unknowns
from warp_phys.likelihood.unknown import Unknown
from warp_phys.systems import Parameter, State, System
from warp_phys.systems.model.supports import Support, bounds, to_physical


def unknown(
    support: Support, usual: tuple[float, float], limits: tuple[float | None, float | None] | None
) -> Unknown:
    class Decay(System):
        """Exponential decay."""

        states = (State("amount", "kg"),)
        parameters = (Parameter("rate", "1/s", support=support, range=usual),)
        default_initial_state = {"amount": 1.0}

        def rhs(self, t: Any, y: Any, p: Any) -> Any:
            return (-p.rate * y[0],)

    given_limits = None if limits is None else {"rate": limits}
    return choose_unknowns(Decay(), set(), {"amount"}, set(), given_limits)[0]


def middle(support: Support, usual: tuple[float, float], limits: object = None) -> float:
    entry = unknown(support, usual, limits)  # type: ignore[arg-type]
    return float(to_physical(torch.tensor(entry.middle(), dtype=torch.float64), entry.support))


@pytest.mark.parametrize(
    ("support", "usual", "limits", "wanted"),
    [
        # Bounds of many decades: the geometric mean, with and without them.
        ("positive", (1e-5, 1e5), None, 1.0),
        ("positive", (1e-5, 1e5), (1e-5, 1e5), 1.0),
        ("positive", (1e-5, 1e5), (1e-2, 1e4), 10.0),
        ("positive", (1e4, 1e5), (1e-3, 1e3), 1.0),
        ("positive", (1e-10, 1e3), None, 10.0**-3.5),
        ("positive", (0.01, 10.0), (0.0, 100.0), 0.1**0.5),
        ("positive", (1.0, 1e4), (1.0, None), 100.0),
        # A coordinate that is linear near a positive range, which spans decades.
        ("real", (1e-3, 1e3), None, 1.0),
        ((-1.0, math.inf), (1e-3, 1e3), None, 1.0),
        # Narrower than a decade, or around zero: the arithmetic mean.
        ("positive", (1.5, 8.0), (1.0, 9.0), 5.0),
        ("positive", (100.0, 200.0), (1.0, 9.0), 5.0),
        ("real", (-1.0, 1.0), (-1e6, 1e6), 0.0),
        ((0.0, 1.0), (0.01, 0.99), None, 0.5),
    ],
)
def test_middles(
    support: Support, usual: tuple[float, float], limits: object, wanted: float
) -> None:
    assert middle(support, usual, limits) == pytest.approx(wanted, rel=0.3, abs=0.02)


def test_a_range_beyond_a_single_bound_starts_well_inside() -> None:
    assert 1.5 < middle("positive", (0.5, 9.0), (1.0, None)) < 6.0
    assert 2.0 < middle("real", (0.0, 10.0), (None, 5.0)) < 4.5


@pytest.mark.parametrize(
    ("support", "usual", "value"),
    [
        ("positive", (1e-10, 1e3), 1e-8),
        ("positive", (0.5, 2.0), 1e-300),
        ((1e-5, 1e5), (1e-5, 1e5), 2e-5),
        ((1e-5, 1e5), (1e-5, 1e5), 9.9999999e4),
        ((0.0, 1e9), (1.0, 2.0), 1e-12),
        ((-1e6, 1e6), (-1.0, 1.0), -1e6 + 1e-3),
        ((1e6, math.inf), (2e6, 3e6), 1e6 + 1e-9),
        ((-math.inf, -3.0), (-5.0, -4.0), -3.0 - 1e-12),
    ],
)
def test_a_start_inside_its_support_is_kept(
    support: Support, usual: tuple[float, float], value: float
) -> None:
    entry = unknown(support, usual, None)
    start = torch.tensor([value], dtype=torch.float64)
    assert torch.equal(entry.inside(start), start)
    back = to_physical(entry.coordinate(start), entry.support)
    assert float(back) == pytest.approx(value, rel=1e-12)


@given(st.floats(-12.0, 6.0), st.floats(0.1, 12.0), st.floats(0.0, 1.0))
def test_every_value_between_wide_bounds_comes_back(low: float, width: float, share: float) -> None:
    ends = (10.0**low, 10.0 ** (low + width))
    entry = unknown("positive", ends, ends)
    value = torch.tensor([10.0 ** (low + share * width)], dtype=torch.float64)
    start = entry.inside(value)
    assert ends[0] < float(start) < ends[1]
    if ends[0] < float(value) < ends[1]:
        assert torch.equal(start, value)
    back = float(to_physical(entry.coordinate(value), entry.support))
    assert back == pytest.approx(float(start), rel=1e-12)


@pytest.mark.parametrize("support", ["positive", (1e-5, 1e5), (0.0, 3.0), (-4.0, 1e8)])
def test_the_ends_of_a_support_are_moved_inside(support: Support) -> None:
    low, high = bounds(support)
    entry = unknown(support, (0.1, 2.0), None)
    ends = torch.tensor([low, low - 1.0, min(high, 1e300), high], dtype=torch.float64)
    inside = entry.inside(ends)
    assert (low < inside).all()
    assert (inside[:3] < high).all()
    # By the smallest scale known of the quantity, not by a share of a wide interval.
    assert float(inside[0] - low) <= 2e-6


def test_starts_are_log_uniform_over_a_positive_range_of_decades() -> None:
    entry = unknown("real", (1e-3, 1e3), None)
    drawn = entry.between(torch.linspace(0.0, 1.0, 7, dtype=torch.float64))
    torch.testing.assert_close(drawn.log10(), torch.arange(-3.0, 4.0, dtype=torch.float64))


def test_the_coordinate_between_wide_bounds_is_a_logarithm() -> None:
    entry = unknown("positive", (1e-5, 1e5), (1e-5, 1e5))
    value = torch.logspace(-3, 3, 7, dtype=torch.float64)
    steps = entry.coordinate(value).diff()
    torch.testing.assert_close(steps, torch.full_like(steps, math.log(10.0)), rtol=5e-3, atol=0.0)
