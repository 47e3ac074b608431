"""Values of expressions: numbers where everything is a number, else torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.petab.expressions import Expression, Name, Number

# Functions of one argument: for numbers and for tensors.
_FUNCTIONS: dict[str, tuple[Callable[[float], Any], Callable[[Tensor], Tensor]]] = {
    "abs": (np.abs, torch.abs),
    "acos": (np.arccos, torch.acos),
    "acosh": (np.arccosh, torch.acosh),
    "asin": (np.arcsin, torch.asin),
    "asinh": (np.arcsinh, torch.asinh),
    "atan": (np.arctan, torch.atan),
    "atanh": (np.arctanh, torch.atanh),
    "ceil": (np.ceil, torch.ceil),
    "cos": (np.cos, torch.cos),
    "cosh": (np.cosh, torch.cosh),
    "exp": (np.exp, torch.exp),
    "floor": (np.floor, torch.floor),
    "ln": (np.log, torch.log),
    "log10": (np.log10, torch.log10),
    "sin": (np.sin, torch.sin),
    "sinh": (np.sinh, torch.sinh),
    "sqrt": (np.sqrt, torch.sqrt),
    "tan": (np.tan, torch.tan),
    "tanh": (np.tanh, torch.tanh),
}
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}


class Evaluation:
    """One evaluation of a set of definitions; each definition is computed at most once.

    Args:
        definitions: Expressions by name.
        leaf: Returns the value of a name without definition.
        time: The time.
        like: A tensor of the shape and dtype of the results.
    """

    def __init__(
        self,
        definitions: Mapping[str, Expression],
        leaf: Callable[[str], Any],
        time: Any,
        like: Tensor,
    ) -> None:
        self._definitions = definitions
        self._leaf = leaf
        self._time = time
        self._like = like
        self._known: dict[str, Any] = {}

    def value(self, expression: Expression) -> Any:
        """Return the value of an expression, a number or a tensor."""
        if isinstance(expression, Number):
            return expression.value
        if isinstance(expression, Name):
            return self._named(expression.name)
        operation, parts = expression.operation, expression.arguments
        if operation == "time":
            return self._time
        if operation == "piecewise":
            return self._piecewise(parts)
        with np.errstate(all="ignore"):
            return self._apply(operation, [self.value(part) for part in parts])

    def _named(self, name: str) -> Any:
        if name not in self._known:
            definition = self._definitions.get(name)
            found = self._leaf(name) if definition is None else self.value(definition)
            self._known[name] = found
        return self._known[name]

    def _apply(self, operation: str, values: list[Any]) -> Any:
        if operation in _FUNCTIONS:
            number, tensor = _FUNCTIONS[operation]
            (x,) = values
            return tensor(x) if isinstance(x, Tensor) else float(number(x))
        if operation in _COMPARISONS:
            # a < b < c holds where every neighboring pair compares.
            compare = _COMPARISONS[operation]
            pairs = [compare(a, b) for a, b in pairwise(values)]
            return reduce(_both, pairs)
        return _ARITHMETIC[operation](self, values)

    def _piecewise(self, parts: tuple[Expression, ...]) -> Any:
        """Return the first value whose condition holds, else the last, which has none."""
        pairs, rest = len(parts) // 2, len(parts) % 2
        result: Any = self.value(parts[-1]) if rest else float("nan")
        for place in reversed(range(pairs)):
            chosen, condition = self.value(parts[2 * place]), self.value(parts[2 * place + 1])
            if isinstance(condition, Tensor):
                condition = condition if condition.dtype == torch.bool else condition != 0.0
                result = torch.where(condition, self.tensor(chosen), self.tensor(result))
            elif condition:
                result = chosen
        return result

    def tensor(self, value: Any) -> Tensor:
        """Return a number or truth value as a tensor."""
        if not isinstance(value, Tensor):
            return torch.full_like(self._like, float(value))
        return value.to(self._like.dtype) if value.dtype == torch.bool else value

    def plus(self, values: list[Any]) -> Any:
        """Return the sum."""
        return reduce(lambda a, b: a + b, values)

    def times(self, values: list[Any]) -> Any:
        """Return the product."""
        return reduce(lambda a, b: a * b, values)

    def divide(self, values: list[Any]) -> Any:
        """Return the quotient of two values, infinite or NaN where the second is zero."""
        a, b = values
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            return a / b if isinstance(b, Tensor) or b != 0.0 else a / torch.zeros_like(a)
        return float(np.divide(a, b))

    def power(self, values: list[Any]) -> Any:
        """Return a^b; whole exponents are given as integers, which torch multiplies out."""
        a, b = values
        if isinstance(a, Tensor) and not isinstance(b, Tensor):
            return a ** (int(b) if float(b).is_integer() else b)
        if isinstance(b, Tensor):
            return torch.pow(a, b)
        return float(np.power(float(a), float(b)))

    def largest(self, values: list[Any]) -> Any:
        """Return the maximum."""
        if not any(isinstance(value, Tensor) for value in values):
            return max(values)
        return reduce(torch.maximum, [self.tensor(value) for value in values])

    def smallest(self, values: list[Any]) -> Any:
        """Return the minimum."""
        if not any(isinstance(value, Tensor) for value in values):
            return min(values)
        return reduce(torch.minimum, [self.tensor(value) for value in values])


def _truth(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value if value.dtype == torch.bool else value != 0.0
    return bool(value)


def _both(a: Any, b: Any) -> Any:
    a, b = _truth(a), _truth(b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.logical_and(a, b)
    if isinstance(a, Tensor):
        return a if b else False
    return b if a else False


def _negated(value: Any) -> Any:
    value = _truth(value)
    return torch.logical_not(value) if isinstance(value, Tensor) else not value


def _either(a: Any, b: Any) -> Any:
    return _negated(_both(_negated(a), _negated(b)))


def _different(a: Any, b: Any) -> Any:
    return _both(_either(a, b), _negated(_both(a, b)))


_ARITHMETIC: dict[str, Callable[[Evaluation, list[Any]], Any]] = {
    "plus": Evaluation.plus,
    "times": Evaluation.times,
    "divide": Evaluation.divide,
    "power": Evaluation.power,
    "max": Evaluation.largest,
    "min": Evaluation.smallest,
    "minus": lambda _, values: values[0] - values[1],
    "negative": lambda _, values: -values[0],
    "and": lambda _, values: reduce(_both, values),
    "or": lambda _, values: reduce(_either, values),
    "xor": lambda _, values: reduce(_different, values),
    "not": lambda _, values: _negated(values[0]),
}
