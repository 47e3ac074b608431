"""Derivatives along many directions at once, without those that are zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from warp_phys.systems.compiling.expression import Expression, Number
from warp_phys.systems.compiling.expressions import Expressions

Direction: TypeAlias = tuple[str, int]


@dataclass(frozen=True, eq=False, repr=False)
class ByDirection(Expression):
    """One expression for each direction, most of which are alike; only `Directional` creates it.

    It stands where one expression would, and takes the same operations.

    Attributes:
        parts: The expressions of the directions that differ from the rest.
        rest: The expression of every other direction.
    """

    parts: Mapping[Direction, Expression]
    rest: Expression

    @property
    def is_mask(self) -> bool:
        """Whether this is a truth value rather than a number."""
        return self.rest.is_mask

    def __repr__(self) -> str:
        return f"{dict(self.parts)}, else {self.rest}"


class Directional(Expressions):
    """A table of expressions whose operations act along every direction at once.

    A record of a function and its Jacobian-vector product runs once on tangents that are unit
    vectors in all directions, and gives the Jacobian, with the very expressions that it gives for
    one direction at a time. What is zero along a direction is not computed.

    Example:
        >>> e = Directional()
        >>> x, y = e.variable("x"), e.variable("y")
        >>> dx, dy = (e.unit({(name, 0): e.constant(1.0)}) for name in "xy")
        >>> along(x * dy + dx * y, ("x", 0)), along(x * dy + dx * y, ("z", 0))
        (y, 0.0)
    """

    def unit(self, parts: Mapping[Direction, Expression]) -> ByDirection:
        """Return what is zero but along some directions."""
        return self._spread(parts, self.constant(0.0))

    def apply(self, operation: str, *values: Number) -> Expression:
        """Return an operation applied along each direction."""
        spread = [value for value in values if isinstance(value, ByDirection)]
        if not spread:
            return super().apply(operation, *values)
        rest = super().apply(operation, *(_rest(value) for value in values))
        parts = {}
        for direction in dict.fromkeys(key for value in spread for key in value.parts):
            part = super().apply(operation, *(along(value, direction) for value in values))
            if part is not rest:
                parts[direction] = part
        return self._spread(parts, rest) if parts else rest

    def _spread(self, parts: Mapping[Direction, Expression], rest: Expression) -> ByDirection:
        return ByDirection("by direction", (), None, -1, self, parts, rest)


def along(value: Number, direction: Direction) -> Number:
    """Return the part of a value along a direction; other values are alike along all."""
    return value.parts.get(direction, value.rest) if isinstance(value, ByDirection) else value


def _rest(value: Number) -> Number:
    return value.rest if isinstance(value, ByDirection) else value
