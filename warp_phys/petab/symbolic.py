"""From expressions of a problem to those of the compiler, which need no tracing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from itertools import pairwise

from warp_phys.petab.expressions import Expression, Name, Number
from warp_phys.systems.compiling.expression import Expression as Scalar
from warp_phys.systems.compiling.expressions import Expressions

_TWO_OR_MORE = {
    "plus": "add",
    "times": "mul",
    "minus": "sub",
    "divide": "div",
    "power": "pow",
    "max": "maximum",
    "min": "minimum",
    "and": "and",
    "or": "or",
}
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
# Others, such as "sin", have the same name.
_ONE = {"negative": "neg", "ln": "log", "not": "not"}


class Symbolic:
    """Translates expressions; each definition is translated once.

    Args:
        definitions: Expressions by name.
        variables: Name of the compiler's variable, such as "y[0]", by leaf.
        table: The table that makes the compiler's expressions.
        time: The time.
    """

    def __init__(
        self,
        definitions: Mapping[str, Expression],
        variables: Mapping[str, str],
        table: Expressions,
        time: Scalar,
    ) -> None:
        self._definitions = definitions
        self._variables = variables
        self._table = table
        self._time = time
        self._known: dict[str, Scalar] = {}

    def value(self, expression: Expression) -> Scalar:
        """Return the compiler's expression."""
        if isinstance(expression, Number):
            return self._table.constant(expression.value)
        if isinstance(expression, Name):
            return self._named(expression.name)
        if expression.operation == "time":
            return self._time
        parts = [self.value(part) for part in expression.arguments]
        if expression.operation == "piecewise":
            return self._piecewise(parts)
        return self._apply(expression.operation, parts)

    def _named(self, name: str) -> Scalar:
        if name not in self._known:
            definition = self._definitions.get(name)
            self._known[name] = (
                self._table.variable(self._variables[name])
                if definition is None
                else self.value(definition)
            )
        return self._known[name]

    def _apply(self, operation: str, parts: list[Scalar]) -> Scalar:
        apply = self._table.apply
        if operation in _COMPARISONS:
            # a < b < c holds where every neighboring pair compares.
            pairs = [apply(operation, a, b) for a, b in pairwise(parts)]
            return reduce(lambda a, b: apply("and", a, b), pairs)
        if operation == "xor":
            return reduce(lambda a, b: apply("ne", self._table.number(a), b), parts)
        if operation in _TWO_OR_MORE:
            return reduce(lambda a, b: apply(_TWO_OR_MORE[operation], a, b), parts)
        return apply(_ONE.get(operation, operation), *parts)

    def _piecewise(self, parts: list[Scalar]) -> Scalar:
        """Return the first value whose condition holds, else the last, which has none."""
        pairs, rest = divmod(len(parts), 2)
        result = parts[-1] if rest else self._table.constant(float("nan"))
        for place in reversed(range(pairs)):
            result = self._table.apply("select", parts[2 * place + 1], parts[2 * place], result)
        return result
