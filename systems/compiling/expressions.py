"""The table of scalar expressions of one system, for common subexpression elimination."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from warp_phys.systems.compiling.expression import Expression, Number
from warp_phys.systems.compiling.operations import CONNECTIVES, FUNCTIONS, OPERATIONS
from warp_phys.systems.compiling.simplify import RULES

_OF_NUMBERS = {"add", "sub", "mul", "div", "neg", *FUNCTIONS}
# IEEE addition and multiplication commute bit for bit, so that operands may be sorted; they are not
# associative, so that sums are never rearranged (Higham, Accuracy and Stability of Numerical
# Algorithms, ch. 2).
_COMMUTATIVE = {"add", "mul", "and", "or", "eq", "ne"}


class Expressions:
    """Creates the expressions of one system, equal ones as one object (hash consing).

    A product with a constant zero is zero, whatever the other factor (even if it is infinite): this
    makes derivatives sparse. All other simplifications preserve every bit but the sign of a zero,
    except that small integer and half-integer powers become products and roots.

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
        """Return expressions unchanged and numbers as constants."""
        return value if isinstance(value, Expression) else self.constant(value)

    def mask(self, value: Number) -> Expression:
        """Return a truth value; a number is true if it is not zero."""
        expression = self.lift(value)
        return expression if expression.is_mask else self.apply("ne", expression, 0.0)

    def number(self, value: Number) -> Expression:
        """Return a number; a truth value is one or zero."""
        expression = self.lift(value)
        return self.apply("select", expression, 1.0, 0.0) if expression.is_mask else expression

    def apply(self, operation: str, *values: Number) -> Expression:
        """Return an operation applied to expressions and numbers, simplified."""
        arguments = self._convert(operation, values)
        if all(argument.is_constant for argument in arguments):
            # Constant folding, by the functions that evaluate expressions: log(0) is -inf, not an
            # error.
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
        # f(c ? a : b) = c ? f(a) : f(b) for constants a and b, so that masks turned into 0 and 1
        # and combined become masks again. Different conditions would multiply the cases.
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
