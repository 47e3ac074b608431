"""The table of all scalar expressions of one system: equal ones are one object, each simplified."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from warp_phys.systems.compiling.expression import Expression, Number
from warp_phys.systems.compiling.operations import CONNECTIVES, FUNCTIONS, OPERATIONS
from warp_phys.systems.compiling.simplify import RULES

_OF_NUMBERS = {"add", "sub", "mul", "div", "neg", *FUNCTIONS}
_COMMUTATIVE = {"add", "mul", "and", "or", "eq", "ne"}  # of the same bits in either order


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
