"""Derivatives of expressions, compared with those of torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from warp_phys.systems.compiling.differentiate import gradients
from warp_phys.systems.compiling.expression import evaluate
from warp_phys.systems.compiling.expressions import Expressions
from warp_phys.systems.compiling.operations import COMPARISONS, CONNECTIVES, OPERATIONS

# Operands inside the domain of every function of one number, and of two.
INSIDE, ABOVE = (0.37, -0.62), 1.83
UNARY = ["neg", "exp", "expm1", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh"]
UNARY += ["cosh", "tanh", "asinh", "atanh", "erf", "erfc", "abs", "floor", "ceil", "trunc", "round"]
POSITIVE = ["log", "log2", "log10", "sqrt", "acosh"]
BINARY = ["add", "sub", "mul", "div", "pow", "atan2", "hypot", "fmod", "remainder", "maximum"]
BINARY += ["minimum"]
NAMES = {"neg": torch.neg, "mul": torch.mul, "sub": torch.sub, "div": torch.div}


def function(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = NAMES.get(name) or getattr(torch, name)
    return found


def test_every_operation_is_tested() -> None:
    known = {*UNARY, *POSITIVE, *BINARY, "select"}
    assert known == set(OPERATIONS) - set(COMPARISONS) - set(CONNECTIVES)


@pytest.mark.parametrize("name", [*UNARY, *POSITIVE])
def test_of_one_number(name: str) -> None:
    for value in (ABOVE,) if name in POSITIVE else INSIDE:
        e = Expressions()
        (slopes,) = gradients([e.apply(name, e.variable("x"))], ["x"])
        x = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        (expected,) = torch.autograd.grad(function(name)(x), x)
        found = evaluate([slopes["x"]], {"x": value})[0] if slopes else 0.0
        assert float(found) == pytest.approx(float(expected), rel=1e-14)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("pair", [(1.7, 0.6), (0.6, 1.7), (2.5, 3.0)])
def test_of_two_numbers(name: str, pair: tuple[float, float]) -> None:
    e = Expressions()
    (slopes,) = gradients([e.apply(name, e.variable("x"), e.variable("y"))], ["x", "y"])
    x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in pair)
    if name in ("fmod", "remainder"):
        # Torch does not differentiate these by the divisor.
        whole = torch.trunc(x / y) if name == "fmod" else torch.floor(x / y)
        expected = (torch.tensor(1.0), -whole)
    else:
        expected = torch.autograd.grad(function(name)(x, y), (x, y))
    for key, slope in zip("xy", expected, strict=True):
        found = evaluate([slopes[key]], {"x": pair[0], "y": pair[1]})[0] if key in slopes else 0.0
        assert float(found) == pytest.approx(float(slope.detach()), rel=1e-14)


def test_chains_branches_and_zeros() -> None:
    e = Expressions()
    x, y = e.variable("x"), e.variable("y")
    branch = e.apply("select", x < y, x * x * y, e.apply("sin", x))
    (below,) = gradients([branch], ["x", "y", "z"])
    assert set(below) == {"x", "y"}
    values = evaluate([below["x"], below["y"]], {"x": 2.0, "y": 3.0})
    assert [float(value) for value in values] == [12.0, 4.0]
    values = evaluate([below["x"], below["y"]], {"x": 2.0, "y": 1.0})
    assert [float(value) for value in values] == pytest.approx([math.cos(2.0), 0.0])
    assert gradients([e.constant(3.0), y], ["x"]) == [{}, {}]


def test_a_power_of_zero() -> None:
    e = Expressions()
    (slopes,) = gradients([e.apply("pow", e.variable("x"), e.variable("n"))], ["x", "n"])
    values = evaluate([slopes["x"], slopes["n"]], {"x": 0.0, "n": 1.5})
    assert [float(value) for value in values] == [0.0, 0.0]
