"""Scalar expressions, shared: equal ones are one object, and what is trivial is simplified away."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from warp_phys.systems.compiling.simplify import RULES

Number: TypeAlias = "Expression | float"


def _remainder(a: Any, b: Any) -> Any:
    """Return a modulo b with the sign of b, as torch.remainder does."""
    rest = np.fmod(a, b)
    return np.where((rest != 0.0) & ((b < 0.0) != (rest < 0.0)), rest + b, rest)


_erf = np.vectorize(math.erf, otypes=[float])
_erfc = np.vectorize(math.erfc, otypes=[float])

# What each operation computes, on numbers and arrays.
COMPARISONS: dict[str, Callable[..., Any]] = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}
CONNECTIVES: dict[str, Callable[..., Any]] = {
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": _erf,
    "erfc": _erfc,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.rint,
    "pow": np.power,
    "atan2": np.arctan2,
    "hypot": np.hypot,
    "fmod": np.fmod,
    "remainder": _remainder,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "select": np.where,
    **COMPARISONS,
    **CONNECTIVES,
    **FUNCTIONS,
}
_OF_NUMBERS = {"add", "sub", "mul", "div", "neg", *FUNCTIONS}
_COMMUTATIVE = {"add", "mul", "and", "or", "eq", "ne"}  # of the same bits in either order


@dataclass(frozen=True, eq=False, repr=False)
class Expression:
    """A number (or a truth value) that depends on variables; made by `Expressions` alone.

    Attributes:
        operation: A key of `OPERATIONS`, or "constant" or "variable".
        arguments: What the operation is applied to.
        leaf: The value of a constant or the name of a variable.
        serial: Running number; arguments come before what they are used in.
        owner: Where equal expressions are looked up.
    """

    operation: str
    arguments: tuple[Expression, ...]
    leaf: float | bool | str | None
    serial: int
    owner: Expressions

    @property
    def is_mask(self) -> bool:
        """Whether this is a truth value rather than a number."""
        of_masks = self.operation in COMPARISONS or self.operation in CONNECTIVES
        return of_masks or isinstance(self.leaf, bool)

    @property
    def is_constant(self) -> bool:
        """Whether no variable enters."""
        return self.operation == "constant"

    @property
    def is_switch(self) -> bool:
        """Whether this is a choice between two constants."""
        branches = self.arguments[1:]
        return self.operation == "select" and all(branch.is_constant for branch in branches)

    def equals(self, value: float) -> bool:
        """Return whether this is the constant of that value."""
        return self.is_constant and self.leaf == value

    def __add__(self, other: Number) -> Expression:
        return self.owner.apply("add", self, other)

    def __radd__(self, other: Number) -> Expression:
        return self.owner.apply("add", other, self)

    def __sub__(self, other: Number) -> Expression:
        return self.owner.apply("sub", self, other)

    def __rsub__(self, other: Number) -> Expression:
        return self.owner.apply("sub", other, self)

    def __mul__(self, other: Number) -> Expression:
        return self.owner.apply("mul", self, other)

    def __rmul__(self, other: Number) -> Expression:
        return self.owner.apply("mul", other, self)

    def __truediv__(self, other: Number) -> Expression:
        return self.owner.apply("div", self, other)

    def __rtruediv__(self, other: Number) -> Expression:
        return self.owner.apply("div", other, self)

    def __neg__(self) -> Expression:
        return self.owner.apply("neg", self)

    def __lt__(self, other: Number) -> Expression:
        return self.owner.apply("lt", self, other)

    def __le__(self, other: Number) -> Expression:
        return self.owner.apply("le", self, other)

    def __gt__(self, other: Number) -> Expression:
        return self.owner.apply("gt", self, other)

    def __ge__(self, other: Number) -> Expression:
        return self.owner.apply("ge", self, other)

    def __repr__(self) -> str:
        if self.leaf is not None:
            return str(self.leaf)
        return f"{self.operation}({', '.join(map(repr, self.arguments))})"


class Expressions:
    """The expressions of one system: makes them, each once.

    A product with a constant zero is zero, whatever the other factor: this is what makes
    derivatives sparse. Otherwise only what leaves every bit but the sign of a zero is simplified,
    and small integer and half powers become products and roots.

    Example:
        >>> e = Expressions()
        >>> x = e.variable("x")
        >>> 1.0 * x + 0.0 is x, x * x is e.apply("pow", x, 2.0)
        (True, True)
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Expression] = {}

    def variable(self, name: str) -> Expression:
        """Return the variable of that name."""
        return self._intern("variable", (), name)

    def constant(self, value: float) -> Expression:
        """Return a constant: a truth value where a bool is given, else a number."""
        return self._intern("constant", (), value if isinstance(value, bool) else float(value))

    def lift(self, value: Number) -> Expression:
        """Return expressions as they are and numbers as constants."""
        return value if isinstance(value, Expression) else self.constant(value)

    def mask(self, value: Number) -> Expression:
        """Return a truth value: for numbers, whether they are not zero."""
        expression = self.lift(value)
        return expression if expression.is_mask else self.apply("ne", expression, 0.0)

    def number(self, value: Number) -> Expression:
        """Return a number: for truth values, one or zero."""
        expression = self.lift(value)
        return self.apply("select", expression, 1.0, 0.0) if expression.is_mask else expression

    def apply(self, operation: str, *values: Number) -> Expression:
        """Return an operation applied to expressions and numbers, as simple as it can be."""
        arguments = self._convert(operation, values)
        if all(argument.is_constant for argument in arguments):
            with np.errstate(all="ignore"):
                result = OPERATIONS[operation](*(argument.leaf for argument in arguments))
            return self.constant(result.item())
        simpler = self._simplify(operation, arguments)
        if simpler is not None:
            return simpler
        if operation in _COMMUTATIVE:
            arguments = tuple(sorted(arguments, key=lambda argument: argument.serial))
        return self._intern(operation, arguments, None)

    def _simplify(self, operation: str, arguments: tuple[Expression, ...]) -> Expression | None:
        rule = RULES.get(operation)
        simpler = None if rule is None else rule(*arguments)
        if simpler is not None or operation not in _OF_NUMBERS:
            return simpler
        # What is done to a choice between constants is done to the constants.
        if not all(argument.is_constant or argument.is_switch for argument in arguments):
            return None
        conditions = {argument.arguments[0] for argument in arguments if argument.is_switch}
        if len(conditions) > 1:
            return None
        sides = (
            self.apply(operation, *(a.arguments[side] if a.is_switch else a for a in arguments))
            for side in (1, 2)
        )
        return self.apply("select", conditions.pop(), *sides)

    def _convert(self, operation: str, values: Iterable[Number]) -> tuple[Expression, ...]:
        if operation in CONNECTIVES:
            return tuple(map(self.mask, values))
        if operation == "select":
            condition, *branches = values
            return (self.mask(condition), *map(self.number, branches))
        return tuple(map(self.number, values))

    def _intern(
        self, operation: str, arguments: tuple[Expression, ...], leaf: float | bool | str | None
    ) -> Expression:
        # repr tells 0.0 from -0.0 and True from 1.0, and finds NaN again.
        key = (operation, repr(leaf), *(argument.serial for argument in arguments))
        if key not in self._known:
            self._known[key] = Expression(operation, arguments, leaf, len(self._known), self)
        return self._known[key]


def in_order(expressions: Iterable[Expression]) -> list[Expression]:
    """Return the expressions and all they are made of, arguments first, each once."""
    waiting, found = list(expressions), set()
    while waiting:
        expression = waiting.pop()
        if expression not in found:
            found.add(expression)
            waiting.extend(expression.arguments)
    return sorted(found, key=lambda expression: expression.serial)


def evaluate(expressions: Iterable[Expression], variables: Mapping[str, Any]) -> list[Any]:
    """Return the values of expressions, given those of all variables (numbers or arrays)."""
    wanted, values = list(expressions), {}
    with np.errstate(all="ignore"):
        for expression in in_order(wanted):
            if expression.operation == "variable":
                values[expression] = variables[str(expression.leaf)]
            elif expression.is_constant:
                values[expression] = expression.leaf
            else:
                arguments = (values[argument] for argument in expression.arguments)
                values[expression] = OPERATIONS[expression.operation](*arguments)
    return [values[expression] for expression in wanted]
