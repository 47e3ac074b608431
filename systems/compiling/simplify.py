"""Rules that simplify one operation and preserve every bit but the sign of a zero.

Exceptions are products and quotients of a constant zero, which are zero even with infinity or NaN,
and small powers, which become products.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from warp_phys.systems.compiling.expression import Expression

Rule: TypeAlias = "Callable[..., Expression | None]"

# Repeated multiplication has a relative error of at most about 7 u for the eighth power, with the
# unit roundoff u (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1), and is much
# faster than pow.
_LARGEST_POWER = 8


def _add(a: Expression, b: Expression) -> Expression | None:
    if a.equals(0.0):
        return b
    if b.equals(0.0):
        return a
    if b.operation == "neg":
        return a - b.arguments[0]
    return b - a.arguments[0] if a.operation == "neg" else None


def _subtract(a: Expression, b: Expression) -> Expression | None:
    if b.equals(0.0):
        return a
    if a.equals(0.0):
        return -b
    return a + b.arguments[0] if b.operation == "neg" else None


def _multiply(a: Expression, b: Expression) -> Expression | None:
    for one, other in ((a, b), (b, a)):
        # Derivatives by what a function does not depend on vanish by this rule.
        if one.equals(0.0):
            return a.owner.constant(0.0)
        if one.equals(1.0):
            return other
        if one.equals(-1.0):
            return -other
        if one.operation == "neg":
            return -(one.arguments[0] * other)
    return None


def _divide(a: Expression, b: Expression) -> Expression | None:
    if a.equals(0.0):
        return a.owner.constant(0.0)
    if a.operation == "neg":
        return -(a.arguments[0] / b)
    if b.operation == "neg":
        return -(a / b.arguments[0])
    # For b a power of two, 1 / b and the product are exact. The range keeps 1 / b from overflow.
    value = float(b.leaf or 0.0) if b.is_constant else 0.0
    if math.frexp(value)[0] in (0.5, -0.5) and 1e-300 < abs(value) < 1e300:
        return a * (1.0 / value)
    return None


def _negate(a: Expression) -> Expression | None:
    if a.operation == "neg":
        return a.arguments[0]
    return a.arguments[1] - a.arguments[0] if a.operation == "sub" else None


def _power(base: Expression, exponent: Expression) -> Expression | None:
    if not exponent.is_constant:
        return None
    power = float(exponent.leaf or 0.0)
    size = abs(power)
    if size > _LARGEST_POWER or size % 0.5:
        return None
    # x^(n + 1/2) = sqrt(x) x^n.
    result = base.owner.constant(1.0) if size % 1.0 == 0.0 else base.owner.apply("sqrt", base)
    for _ in range(int(size)):
        result = result * base
    return result if power >= 0.0 else 1.0 / result


def _select(condition: Expression, a: Expression, b: Expression) -> Expression | None:
    if condition.is_constant:
        return a if condition.leaf else b
    if condition.operation == "not":
        return a.owner.apply("select", condition.arguments[0], b, a)
    return a if a is b else None


def _differs(a: Expression, b: Expression) -> Expression | None:
    if not a.is_switch or not b.equals(0.0):
        return None
    condition, yes, no = a.arguments
    return condition if yes.equals(1.0) and no.equals(0.0) else None


def _both(a: Expression, b: Expression) -> Expression | None:
    for one, other in ((a, b), (b, a)):
        if one.is_constant:
            return other if one.leaf else one
    return a if a is b else None


def _either(a: Expression, b: Expression) -> Expression | None:
    for one, other in ((a, b), (b, a)):
        if one.is_constant:
            return one if one.leaf else other
    return a if a is b else None


def _not(a: Expression) -> Expression | None:
    return a.arguments[0] if a.operation == "not" else None


# Operation -> rule, which returns a simpler expression for its operands, or None if there is none.
RULES: dict[str, Rule] = {
    "add": _add,
    "sub": _subtract,
    "mul": _multiply,
    "div": _divide,
    "neg": _negate,
    "pow": _power,
    "select": _select,
    "ne": _differs,
    "and": _both,
    "or": _either,
    "not": _not,
}
