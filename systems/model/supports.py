"""Supports: the set of values of a parameter or state, and its bijection to the real line."""

from __future__ import annotations

import math
from functools import lru_cache
from numbers import Real
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints

from warp_phys.systems.errors import UsageError

Support: TypeAlias = Literal["real", "positive"] | tuple[float, float]


def bounds(support: Support) -> tuple[float, float]:
    """Return the lower and upper bound of a support, infinite if there is none.

    Example:
        >>> bounds("positive"), bounds((-1.0, 1.0))
        ((0.0, inf), (-1.0, 1.0))
    """
    if support == "real":
        return -math.inf, math.inf
    if support == "positive":
        return 0.0, math.inf
    if isinstance(support, tuple) and len(support) == 2:
        try:
            low, high = float(support[0]), float(support[1])
        except (TypeError, ValueError):
            low, high = math.nan, math.nan
        if low < high:
            return low, high
    raise UsageError(
        'expected a support "real", "positive" or (low, high) with low < high; '
        f"received {support!r}"
    )


@lru_cache(maxsize=256)
def constraint(support: Support) -> constraints.Constraint:
    """Return the torch.distributions constraint of a support."""
    low, high = bounds(support)
    if support == "positive":
        return constraints.positive
    if math.isinf(low) and math.isinf(high):
        return constraints.real
    if math.isinf(high):
        return constraints.greater_than(low)
    if math.isinf(low):
        return constraints.less_than(high)
    return constraints.interval(low, high)


@lru_cache(maxsize=256)
def _bijection(support: Support) -> Transform:
    return biject_to(constraint(support))


def to_unconstrained(value: Tensor, support: Support) -> Tensor:
    """Map values on their support to the real line (log, logit or identity), same shape."""
    return _bijection(support).inv(value)


def to_physical(value: Tensor, support: Support) -> Tensor:
    """Map real numbers onto a support (exp, scaled sigmoid or identity), same shape.

    Example:
        >>> import torch
        >>> to_physical(torch.tensor([-50.0, 0.0]), (2.0, 4.0))
        tensor([2., 3.])
    """
    return value.exp() if support == "positive" else _bijection(support)(value)


def slope_of_physical(value: Tensor, support: Support) -> Tensor:
    """Return the derivative of `to_physical` at real numbers, same shape.

    Example:
        >>> import torch
        >>> slope_of_physical(torch.tensor([0.0, 1.0]), "positive")
        tensor([1.0000, 2.7183])
    """
    low, high = bounds(support)
    if math.isinf(low) and math.isinf(high):
        return torch.ones_like(value)
    if math.isinf(high):
        return value.exp()
    if math.isinf(low):
        return -value.exp()
    return (high - low) * value.sigmoid() * (-value).sigmoid()


def contains(value: Tensor, support: Support) -> Tensor:
    """Return a boolean tensor: finite and on the support. An interval includes its ends."""
    return value.isfinite() & constraint(support).check(value)


def contains_number(value: object, support: Support) -> bool:
    """Return whether something is a finite number on the support, by the rule of `contains`."""
    low, high = bounds(support)
    if not isinstance(value, Real) or not math.isfinite(value):
        return False
    number = float(value)
    open_ended = support == "positive" or math.isinf(high) or math.isinf(low)
    return low < number < high if open_ended else low <= number <= high


def describe(support: Support) -> str:
    """Return a support in words.

    Example:
        >>> describe("positive"), describe((0.0, 1.5))
        ('positive', 'in [0, 1.5]')
    """
    if isinstance(support, str):
        return support
    low, high = bounds(support)
    if math.isinf(low) and math.isinf(high):
        return "real"
    if math.isinf(high):
        return f"above {low:g}"
    if math.isinf(low):
        return f"below {high:g}"
    return f"in [{low:g}, {high:g}]"
