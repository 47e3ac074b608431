"""Where functions of known shape reach their target, and where they never do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from warp_phys.fitting.uncertainty.crossing import Crossings

Curve = Callable[[Tensor], Tensor]


def search(curve: Curve, target: float = 2.0, first: float = 1.0, limit: float = 50.0) -> float:
    one = torch.ones(1, dtype=torch.float64)
    crossings = Crossings(target * one, first * one, limit * one)
    for _ in range(60):
        lanes = crossings.open()
        if not len(lanes):
            break
        x = crossings.propose(lanes)
        assert (x > 0.0).all()
        assert (x <= limit).all()
        crossings.take(lanes, x, curve(x))
    crossings.give_up()
    return float(crossings.found)


@pytest.mark.parametrize("first", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize(
    ("curve", "inverse"),
    [
        (lambda x: 0.7 * x, 2.0 / 0.7),
        (lambda x: x.exp() - 1.0, np.log(3.0)),
        (lambda x: 3.0 * x / (1.0 + x), 2.0),
        (lambda x: x**3, 2.0 ** (1.0 / 3.0)),
        (lambda x: torch.where(x < 10.0, 0.05 * x, x - 9.5), 11.5),
    ],
)
def test_crossing(curve: Curve, inverse: float, first: float) -> None:
    assert search(curve, first=first) == pytest.approx(inverse, rel=3e-4)


@pytest.mark.parametrize(
    "curve",
    [
        lambda x: 0.7 * x,
        lambda x: (0.3 * x).exp() - 1.0 + 0.4 * x,
        lambda x: 9.0 * x / (5.0 + x),
        # Another unknown reaches its bound: the second derivative jumps.
        lambda x: x + torch.where(x > 1.6, (x - 1.6) ** 2, 0.0),
    ],
)
def test_derivatives_take_few_points(curve: Curve) -> None:
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    rise = torch.autograd.grad(curve(x).sum(), x)[0]
    one = torch.ones(1, dtype=torch.float64)
    crossings = Crossings(2.0 * one, 2.0 / rise, 50.0 * one, rise)
    count = 0
    while len(lanes := crossings.open()):
        count += 1
        x = crossings.propose(lanes).requires_grad_()
        tau = curve(x)
        slope = torch.autograd.grad(tau.sum(), x)[0]
        crossings.take(lanes, x.detach(), tau.detach(), slope)
    assert count <= 3
    root = scipy.optimize.brentq(lambda v: float(curve(v * one)) - 2.0, 1e-9, 40.0, xtol=1e-12)
    assert float(crossings.found) == pytest.approx(root, rel=1e-4)


def test_a_slope_that_leads_astray_is_not_followed() -> None:
    """Where a minimization was not finished, the derivative at its end is not the profile's."""
    one = torch.ones(1, dtype=torch.float64)
    crossings = Crossings(2.0 * one, one, 50.0 * one, one)
    for _ in range(60):
        lanes = crossings.open()
        if not len(lanes):
            break
        x = crossings.propose(lanes)
        crossings.take(lanes, x, 0.5 * x, -3.0 * one)
    assert float(crossings.found) == pytest.approx(4.0, rel=3e-4)


def test_an_end_is_open_where_tau_is_far_from_the_target_when_the_model_fails() -> None:
    one = torch.ones(1, dtype=torch.float64)
    crossings = Crossings(2.0 * one, 20.0 * one, 50.0 * one)
    count = 0
    while len(lanes := crossings.open()):
        count += 1
        x = crossings.propose(lanes)
        crossings.take(lanes, x, torch.where(x < 7.0, 0.01 * x, torch.inf))
    assert count <= 4
    assert float(crossings.found) == np.inf


def test_none_within_the_limit() -> None:
    assert search(lambda x: x / (1.0 + x)) == np.inf
    assert search(torch.zeros_like) == np.inf


def test_none_before_the_model_fails() -> None:
    assert search(lambda x: torch.where(x < 5.0, 0.1 * x, torch.inf)) == np.inf


def test_before_the_model_fails() -> None:
    found = search(lambda x: torch.where(x < 5.0, 0.5 * x, torch.inf), first=20.0)
    assert found == pytest.approx(4.0, rel=1e-4)


def test_a_jump() -> None:
    found = search(lambda x: torch.where(x < 3.0, 0.1 * x, 5.0 + x))
    assert found == pytest.approx(3.0, rel=2e-3)


def test_a_point_that_was_wrong_is_forgotten() -> None:
    """A minimization that was trapped once does not close an interval that goes on."""
    trapped = {"left": 1}

    def curve(x: Tensor) -> Tensor:
        tau = 0.1 * x
        if float(x) > 9.0 and trapped["left"]:
            trapped["left"] = 0
            return tau + 20.0
        return tau

    assert search(curve, limit=100.0) == pytest.approx(20.0, rel=1e-4)
