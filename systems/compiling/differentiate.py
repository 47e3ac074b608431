"""Partial derivatives of expressions, by the rules of calculus for each operation.

Tracing records first derivatives of a system's functions. The derivative of an implicit step needs
second ones, which come from the expressions of the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from warp_phys.systems.compiling.expression import Expression, Number, in_order

Partials: TypeAlias = Callable[..., Sequence[Number]]


def gradients(
    expressions: Sequence[Expression], variables: Iterable[str]
) -> list[dict[str, Expression]]:
    """Return the derivatives of each expression by the variables, those that are zero left out.

    Where an expression jumps or has a kink, the derivative is that of the branch taken.

    Example:
        >>> from warp_phys.systems.compiling.expressions import Expressions
        >>> e = Expressions()
        >>> x, y = e.variable("x"), e.variable("y")
        >>> gradients([x * y + 2.0 * y], ["x", "y", "z"])
        [{'x': y, 'y': add(x, 2.0)}]
    """
    wanted = set(variables)
    found: dict[Expression, dict[str, Expression]] = {}
    for expression in in_order(expressions):
        if expression.operation == "variable":
            name = str(expression.leaf)
            one = expression.owner.constant(1.0)
            found[expression] = {name: one} if name in wanted else {}
        elif expression.is_constant or expression.is_mask:
            found[expression] = {}
        else:
            found[expression] = _chained(expression, found)
    return [found[expression] for expression in expressions]


def _chained(
    expression: Expression, found: dict[Expression, dict[str, Expression]]
) -> dict[str, Expression]:
    """Return the derivatives of an operation by the chain rule, given those of its operands."""
    inner = [found[argument] for argument in expression.arguments]
    if not any(inner):
        return {}
    if expression.operation in _CHOICES:
        return _chosen(*_CHOICES[expression.operation](*expression.arguments), found)
    partials = _PARTIALS[expression.operation](expression, *expression.arguments)
    total: dict[str, Expression] = {}
    for partial, slopes in zip(partials, inner, strict=True):
        for name, slope in slopes.items():
            term = slope * partial
            total[name] = total[name] + term if name in total else term
    return {name: slope for name, slope in total.items() if not slope.equals(0.0)}


def _chosen(
    condition: Expression,
    yes: Expression,
    no: Expression,
    found: dict[Expression, dict[str, Expression]],
) -> dict[str, Expression]:
    """Return the derivatives of the branch taken, whatever those of the other one are, NaN too."""
    zero, slopes = condition.owner.constant(0.0), (found[yes], found[no])
    total = {
        name: condition.owner.apply("select", condition, *(one.get(name, zero) for one in slopes))
        for name in {**slopes[0], **slopes[1]}
    }
    return {name: slope for name, slope in total.items() if not slope.equals(0.0)}


def _choose(condition: Number, yes: Number, no: Number, like: Expression) -> Expression:
    return like.owner.apply("select", condition, yes, no)


def _call(operation: str, *values: Expression | float) -> Expression:
    owner = next(value.owner for value in values if isinstance(value, Expression))
    return owner.apply(operation, *values)


def _power(x: Expression, a: Expression, b: Expression) -> Sequence[Number]:
    by_base = b * _call("pow", a, b - 1.0)
    if b.is_constant:
        return by_base, 0.0
    # a^b log a tends to zero with a, where log a does not exist.
    return by_base, _choose(a > 0.0, x * _call("log", a), 0.0, x)


# Operation -> the condition and branches that it amounts to.
_CHOICES: dict[str, Callable[..., tuple[Expression, Expression, Expression]]] = {
    "select": lambda condition, a, b: (condition, a, b),
    "maximum": lambda a, b: (a > b, a, b),
    "minimum": lambda a, b: (a < b, a, b),
}
# Operation -> its partial derivatives by the operands, from the value x and the operands a, b.
_PARTIALS: dict[str, Partials] = {
    "add": lambda _x, _a, _b: (1.0, 1.0),
    "sub": lambda _x, _a, _b: (1.0, -1.0),
    "mul": lambda _x, a, b: (b, a),
    "div": lambda x, _a, b: (1.0 / b, -x * (1.0 / b)),
    "neg": lambda _x, _a: (-1.0,),
    "exp": lambda x, _a: (x,),
    "expm1": lambda x, _a: (x + 1.0,),
    "log": lambda _x, a: (1.0 / a,),
    "log1p": lambda _x, a: (1.0 / (1.0 + a),),
    "log2": lambda _x, a: (1.0 / (a * math.log(2.0)),),
    "log10": lambda _x, a: (1.0 / (a * math.log(10.0)),),
    "sin": lambda _x, a: (_call("cos", a),),
    "cos": lambda _x, a: (-_call("sin", a),),
    "tan": lambda x, _a: (1.0 + x * x,),
    "asin": lambda _x, a: (1.0 / _call("sqrt", 1.0 - a * a),),
    "acos": lambda _x, a: (-1.0 / _call("sqrt", 1.0 - a * a),),
    "atan": lambda _x, a: (1.0 / (1.0 + a * a),),
    "sinh": lambda _x, a: (_call("cosh", a),),
    "cosh": lambda _x, a: (_call("sinh", a),),
    "tanh": lambda x, _a: (1.0 - x * x,),
    "asinh": lambda _x, a: (1.0 / _call("sqrt", 1.0 + a * a),),
    "acosh": lambda _x, a: (1.0 / _call("sqrt", a * a - 1.0),),
    "atanh": lambda _x, a: (1.0 / (1.0 - a * a),),
    "erf": lambda _x, a: (2.0 / math.sqrt(math.pi) * _call("exp", -(a * a)),),
    "erfc": lambda _x, a: (-2.0 / math.sqrt(math.pi) * _call("exp", -(a * a)),),
    "sqrt": lambda x, _a: (0.5 / x,),
    "abs": lambda x, a: (_choose(a < 0.0, -1.0, _choose(a > 0.0, 1.0, 0.0, x), x),),
    "floor": lambda _x, _a: (0.0,),
    "ceil": lambda _x, _a: (0.0,),
    "trunc": lambda _x, _a: (0.0,),
    "round": lambda _x, _a: (0.0,),
    "pow": _power,
    "atan2": lambda _x, a, b: (b / (a * a + b * b), -a / (a * a + b * b)),
    "hypot": lambda x, a, b: (a / x, b / x),
    "fmod": lambda _x, a, b: (1.0, -_call("trunc", a / b)),
    "remainder": lambda _x, a, b: (1.0, -_call("floor", a / b)),
}
