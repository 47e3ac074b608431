"""All zeros of a function of time, found by interval arithmetic.

The range of an expression over an interval of time is bounded from those of its parts. An interval
whose range excludes zero holds no zero; the others are halved until they are as narrow as rounding
allows. No zero is missed, however close to another one, and a jump through zero is found like one.

References:
    R. E. Moore, R. B. Kearfott, M. J. Cloud, Introduction to Interval Analysis, SIAM, 2009.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from warp_phys.systems.compiling.expression import Expression, in_order
from warp_phys.systems.compiling.operations import OPERATIONS

Floats = NDArray[np.float64]
Range = tuple[Any, Any]

# Halvings at most, and intervals that are searched at once: a function that vanishes on a whole
# stretch of time, or at very many times, is left to the control of the steps.
_HALVINGS, _MOST = 60, 200_000
# Width, in units in the last place of the largest time, of the intervals that are not halved.
_ULPS = 4.0

# Operations that never fall.
_RISING = frozenset(
    (
        *("exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "atan", "sinh", "tanh"),
        *("asinh", "floor", "ceil", "trunc", "round", "erf"),
    )
)


def _corners(operation: str) -> Callable[[Range, Range], Range]:
    def of(a: Range, b: Range) -> Range:
        ends = [OPERATIONS[operation](x, y) for x in a for y in b]
        return np.minimum.reduce(ends), np.maximum.reduce(ends)

    return of


def _divide(a: Range, b: Range) -> Range:
    low, high = _corners("div")(a, b)
    free = (b[0] > 0.0) | (b[1] < 0.0)
    return np.where(free, low, -np.inf), np.where(free, high, np.inf)


def _absolute(a: Range) -> Range:
    ends = np.abs(a[0]), np.abs(a[1])
    inside = (a[0] < 0.0) & (a[1] > 0.0)
    return np.where(inside, 0.0, np.minimum(*ends)), np.maximum(*ends)


def _power(a: Range, b: Range) -> Range:
    even = np.all(b[0] == b[1]) and np.all(np.mod(b[0], 2.0) == 0.0) and np.all(b[0] > 0.0)
    return _corners("pow")(_absolute(a) if even else a, b)


def _cosine(a: Range) -> Range:
    # The greatest value is at even multiples of pi, the least one at odd multiples.
    low, high = a[0] / np.pi, a[1] / np.pi
    top = np.floor(high / 2.0) >= np.ceil(low / 2.0)
    bottom = np.floor((high - 1.0) / 2.0) >= np.ceil((low - 1.0) / 2.0)
    ends = np.cos(a[0]), np.cos(a[1])
    return np.where(bottom, -1.0, np.minimum(*ends)), np.where(top, 1.0, np.maximum(*ends))


def _remainder(operation: str) -> Callable[[Range, Range], Range]:
    def of(a: Range, b: Range) -> Range:
        whole = np.floor if operation == "remainder" else np.trunc
        same = (b[0] == b[1]) & (whole(a[0] / b[0]) == whole(a[1] / b[0]))
        ends = [OPERATIONS[operation](x, b[0]) for x in a]
        most = np.maximum(np.abs(b[0]), np.abs(b[1]))
        return np.where(same, np.minimum(*ends), -most), np.where(same, np.maximum(*ends), most)

    return of


_RANGES: dict[str, Callable[..., Range]] = {
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "sub": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "mul": _corners("mul"),
    "div": _divide,
    "neg": lambda a: (-a[1], -a[0]),
    "abs": _absolute,
    "pow": _power,
    "cos": _cosine,
    "sin": lambda a: _cosine((a[0] - 0.5 * np.pi, a[1] - 0.5 * np.pi)),
    "remainder": _remainder("remainder"),
    "fmod": _remainder("fmod"),
    "maximum": _corners("maximum"),
    "minimum": _corners("minimum"),
}


def _range(function: Expression, low: Floats, high: Floats, others: Mapping[str, Any]) -> Range:
    """Return bounds of a function over intervals of time."""
    found: dict[Expression, Range] = {}
    for one in in_order([function]):
        if one.is_constant:
            found[one] = (float(one.leaf or 0.0), float(one.leaf or 0.0))
        elif one.operation == "variable":
            other = others.get(str(one.leaf))
            found[one] = (low, high) if one.leaf == "t" else (other, other)
        else:
            arguments = [found[argument] for argument in one.arguments]
            if one.operation in _RISING:
                rises = OPERATIONS[one.operation]
                found[one] = (rises(arguments[0][0]), rises(arguments[0][1]))
            else:
                found[one] = _RANGES[one.operation](*arguments)
    return found[function]


def can_be_searched(function: Expression) -> bool:
    """Return whether ranges of all operations of a function are known."""
    known = {*_RANGES, *_RISING, "variable", "constant"}
    return all(one.operation in known for one in in_order([function]))


def zeros_in_time(
    function: Expression, start: Floats, end: Floats, values: Mapping[str, Floats]
) -> list[list[float]]:
    """Return the zeros of g(t) in [start, end] for N trajectories, from above.

    Args:
        function: g, of "t" and of the variables in `values`.
        start: (N,).
        end: (N,).
        values: (N,) each.
    """
    rows, low, high = np.arange(len(start)), start.copy(), end.copy()
    least = _ULPS * np.spacing(np.maximum(np.abs(start), np.abs(end)))
    for _ in range(_HALVINGS):
        here = {name: column[rows] for name, column in values.items()}
        with np.errstate(all="ignore"):
            bottom, top = _range(function, low, high, here)
        # Written with negations: what is not a number excludes nothing.
        left = ~((bottom > 0.0) | (top < 0.0))
        rows, low, high = rows[left], low[left], high[left]
        if not (high - low > least[rows]).any() or 2 * len(rows) > _MOST:
            break
        middle = 0.5 * (low + high)
        rows = np.repeat(rows, 2)
        low = np.stack([low, middle], axis=1).ravel()
        high = np.stack([middle, high], axis=1).ravel()
    if (high - low > 8.0 * least[rows]).any():
        return [[] for _ in start]
    return [_joined(low[rows == row], high[rows == row]) for row in range(len(start))]


def _joined(low: Floats, high: Floats) -> list[float]:
    """Join intervals that have an end in common, and return their upper ends."""
    last = np.append(low[1:] > high[:-1], True) if len(low) else np.zeros(0, bool)
    ends: list[float] = high[last].tolist()
    return ends
