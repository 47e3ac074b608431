"""One scalar expression: a node of the graph to which a system's functions are traced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from warp_phys.systems.compiling.operations import COMPARISONS, CONNECTIVES, OPERATIONS

Number: TypeAlias = "Expression | float"


class Maker(Protocol):
    """The part of `Expressions` that expressions and simplification rules use."""

    def constant(self, value: float) -> Expression:
        """Return the constant expression of a value."""
        ...

    def variable(self, name: str) -> Expression:
        """Return the variable of that name."""
        ...

    def apply(self, operation: str, *values: Number) -> Expression:
        """Return an operation applied to expressions and numbers."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class Expression:
    """A number or truth value that depends on variables; only `Expressions` creates it.

    Attributes:
        operation: A key of `OPERATIONS`, or "constant" or "variable".
        arguments: The operands.
        leaf: The value of a constant or the name of a variable.
        serial: Running number; operands have smaller numbers than the expressions that use them.
        owner: The table that made this expression and finds equal ones.
    """

    operation: str
    arguments: tuple[Expression, ...]
    leaf: float | bool | str | None
    serial: int
    owner: Maker

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


def in_order(expressions: Iterable[Expression]) -> list[Expression]:
    """Return the expressions and their operands at all depths, operands first, each once."""
    waiting, found = list(expressions), set()
    while waiting:
        expression = waiting.pop()
        if expression not in found:
            found.add(expression)
            waiting.extend(expression.arguments)
    # Serial numbers are a topological order, as operands exist before what uses them.
    return sorted(found, key=lambda expression: expression.serial)


def evaluate(
    expressions: Iterable[Expression],
    variables: Mapping[str, Any],
    known: Mapping[Expression, Any] | None = None,
) -> list[Any]:
    """Return the values of expressions.

    Args:
        expressions: The expressions.
        variables: The values of all variables, numbers or arrays.
        known: Values of some expressions, which are not computed.
    """
    wanted, values = list(expressions), dict(known or {})
    with np.errstate(all="ignore"):
        for expression in in_order(wanted):
            if expression in values:
                continue
            if expression.operation == "variable":
                values[expression] = variables[str(expression.leaf)]
            elif expression.is_constant:
                values[expression] = expression.leaf
            else:
                arguments = (values[argument] for argument in expression.arguments)
                values[expression] = OPERATIONS[expression.operation](*arguments)
    return [values[expression] for expression in wanted]
