"""Arrays of expressions: NumPy object arrays, whose views share memory like those of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from warp_phys.systems.compiling.expressions import Expressions


def array(e: Expressions, value: Any) -> np.ndarray:
    """Return an array of expressions from an array, an expression or a number."""
    if isinstance(value, np.ndarray):
        return value
    result = np.empty((), dtype=object)
    result[()] = e.lift(value)
    return result


def apply(e: Expressions, operation: str, *values: Any) -> np.ndarray:
    """Return a scalar operation applied to every element, with broadcasting."""
    scalars = np.frompyfunc(lambda *parts: e.apply(operation, *parts), len(values), 1)
    return array(e, scalars(*(array(e, value) for value in values)))


def full(e: Expressions, shape: Sequence[int], value: Any) -> np.ndarray:
    """Return an array of one value."""
    result = np.empty(tuple(shape), dtype=object)
    result.fill(array(e, value)[()])
    return result


def constants(e: Expressions, values: Any) -> np.ndarray:
    """Return an array of constants of numbers or truth values."""
    numbers = np.asarray(values)
    result = np.empty(numbers.shape, dtype=object)
    for place in np.ndindex(numbers.shape):
        result[place] = e.constant(numbers[place].item())
    return result
