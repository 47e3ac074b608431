"""Formulas of PEtab tables and SBML: each operation, on numbers, on tensors and compiled."""

from __future__ import annotations

import math

import libsbml
import pytest
import torch

from warp_phys.petab.evaluation import Evaluation
from warp_phys.petab.expressions import Expression
from warp_phys.petab.formulas import Formulas, parse_formula
from warp_phys.petab.symbolic import Symbolic
from warp_phys.systems.compiling.expression import evaluate
from warp_phys.systems.compiling.expressions import Expressions
from warp_phys.systems.errors import UnsupportedError, UsageError

X, Y = 0.7, -1.5

# It owns its model, which must not outlive it.
DOCUMENT = libsbml.SBMLDocument(3, 2)
MODEL = DOCUMENT.createModel()


def parsed(text: str) -> Expression:
    return parse_formula(text, "the formula", Formulas({}), MODEL)


def values(text: str) -> list[float]:
    """Return the value of a formula of x, y and time from numbers, tensors and expressions."""
    found = []
    for wrap in (float, lambda number: torch.tensor([number], dtype=torch.float64)):
        leaves = {"x": wrap(X), "y": wrap(Y)}
        like = torch.zeros(1, dtype=torch.float64)
        evaluation = Evaluation({"twice": parsed("2 * x")}, leaves.__getitem__, wrap(3.0), like)
        found.append(float(evaluation.tensor(evaluation.value(parsed(text)))))
    e = Expressions()
    names = {"x": "y[0]", "y": "p[0]"}
    written = Symbolic({"twice": parsed("2 * x")}, names, e, e.variable("t"))
    (value,) = evaluate([e.number(written.value(parsed(text)))], {"y[0]": X, "p[0]": Y, "t": 3.0})
    return [*found, float(value)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x + y + 1", X + Y + 1),
        ("-x - y", -X - Y),
        ("x * y / 2", X * Y / 2),
        ("2 ^ 3 ^ 2", 512.0),
        ("x ** 2 + y^2", X**2 + Y**2),
        ("-x^2", -(X**2)),
        ("x^y", X**Y),
        ("2^x", 2**X),
        ("y^3", Y**3),
        ("exp(x) + log(x) + ln(x)", math.exp(X) + 2 * math.log(X)),
        ("log10(x) + log(2, 8)", math.log10(X) + 3.0),
        ("sqrt(x) + root(3, x)", math.sqrt(X) + X ** (1 / 3)),
        ("abs(y) + floor(y) + ceil(y)", 1.5 - 2.0 - 1.0),
        ("sin(x) + cos(x) + tan(x)", math.sin(X) + math.cos(X) + math.tan(X)),
        ("arcsin(x) + arccos(x) + arctan(y)", math.asin(X) + math.acos(X) + math.atan(Y)),
        ("sinh(x) * cosh(x) - tanh(y)", math.sinh(X) * math.cosh(X) - math.tanh(Y)),
        ("arcsinh(y) + arccosh(2) + arctanh(x)", math.asinh(Y) + math.acosh(2) + math.atanh(X)),
        ("min(x, y, 0) + max(x, 2)", Y + 2.0),
        ("time * x", 3.0 * X),
        ("pi + exponentiale", math.pi + math.e),
        ("twice + twice", 4 * X),
        ("piecewise(x, y > 0, 2 * x, x > 0, 5)", 2 * X),
        ("piecewise(1, y > 0, 7)", 7.0),
        ("piecewise(1, (x > 0) && !(y > 0), 7)", 1.0),
        ("piecewise(1, (x < 0) || (y == -1.5), 7)", 1.0),
        ("piecewise(1, (x >= 0) && (y != -1.5), 7)", 7.0),
        ("piecewise(1, y < 0 < x, 7)", 1.0),
        ("piecewise(x, time <= 2, y)", Y),
        ("(x > 0) + 1", 2.0),
        ("1e-3 + 2E2", 200.001),
    ],
)
def test_an_operation(text: str, expected: float) -> None:
    assert values(text) == pytest.approx([expected] * 3, rel=1e-14)


def test_a_division_by_zero_is_infinite() -> None:
    assert values("x / 0") == [math.inf] * 3
    assert math.isnan(values("0 / (x - x)")[0])


@pytest.mark.parametrize("text", ["x +", "(x", "x y", ""])
def test_no_formula(text: str) -> None:
    with pytest.raises(UsageError, match="expected the formula as a formula, received"):
        parsed(text)


@pytest.mark.parametrize("text", ["digamma(x)", "__import__(os)", "eval(x)", "print(x)"])
def test_an_unknown_function_is_named(text: str) -> None:
    name = text.partition("(")[0]
    with pytest.raises(UnsupportedError, match=f"the formula calls '{name}' with 1 arguments"):
        parsed(text)


@pytest.mark.parametrize("text", ["__import__('os').system('true')", "x.__class__", "[x]", "x; y"])
def test_python_is_no_formula(text: str) -> None:
    with pytest.raises(UsageError):
        parsed(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [("delay(x, 1)", "a delay"), ("factorial(x)", "'factorial(x)'"), ("sec(x)", "'sec(x)'")],
)
def test_an_unsupported_operation_is_named(text: str, words: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        parsed(text)
    assert words in str(caught.value)
