"""What changes with a comparison: values of a right-hand side, its derivatives, or neither.

Some comparisons only choose between two formulas of one smooth function, such as a series beside a
removable singularity. Nothing happens where these change, so that no step need end there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

import numpy as np

from warp_phys.systems.compiling.conditions import decides
from warp_phys.systems.compiling.differentiate import gradients
from warp_phys.systems.compiling.expression import Expression, evaluate, in_order

# Relative differences below this are the rounding errors of two formulas of one function.
_SAME = 1e-6
_ITERATIONS = 30
# Expressions whose evaluation would take longer than what is saved.
_MOST = 20_000

Point = Mapping[str, np.ndarray]


class Discontinuity(IntEnum):
    """What changes at a zero.

    Attributes:
        JUMP: The right-hand side jumps there; also where nothing is known.
        KINK: Its derivatives jump.
        NONE: It and its first derivatives pass smoothly.
    """

    JUMP = 0
    KINK = 1
    NONE = 2


def discontinuities(
    values: Sequence[Expression], slopes: Sequence[Expression], points: Point
) -> dict[Expression, Discontinuity]:
    """Return what the comparisons within expressions change, by trial at points on their zeros.

    Args:
        values: The right-hand side.
        slopes: Its derivatives.
        points: Arrays (n,) by the names of the variables, from which zeros are looked for.
    """
    every = in_order(values)
    few = len(every) + len(slopes) <= _MOST
    return {
        one: _discontinuity(one, values, slopes, points) if few else Discontinuity.JUMP
        for one in every
        if decides(one)
    }


def _discontinuity(
    comparison: Expression,
    values: Sequence[Expression],
    slopes: Sequence[Expression],
    points: Point,
) -> Discontinuity:
    zeros = _on_zero(comparison.arguments[0] - comparison.arguments[1], points)
    if zeros is None or not _agree(comparison, values, zeros):
        return Discontinuity.JUMP
    return Discontinuity.NONE if _agree(comparison, slopes, zeros) else Discontinuity.KINK


def _on_zero(function: Expression, points: Point) -> dict[str, np.ndarray] | None:
    """Return points at which a function is zero, by Newton steps along its gradient; None if lost.

    States, time and inputs are moved; parameters, which have supports, only if nothing else enters.
    """
    (every,) = gradients([function], points)
    free = {name: one for name, one in every.items() if name[0] != "p"} or every
    moved = dict(points)
    with np.errstate(all="ignore"):
        for _ in range(_ITERATIONS):
            value, *found = evaluate([function, *free.values()], moved)
            length = sum(np.square(one) for one in found)
            for name, slope in zip(free, found, strict=True):
                moved[name] = moved[name] - value * slope / length
        value, *found = evaluate([function, *free.values()], moved)
        sizes = sum(np.abs(slope * moved[name]) for name, slope in zip(free, found, strict=True))
        close = np.broadcast_to(np.abs(value) <= 1e-12 * (1.0 + sizes), moved["t"].shape)
    return {name: one[close] for name, one in moved.items()} if close.any() else None


def _agree(comparison: Expression, targets: Sequence[Expression], points: Point) -> bool:
    """Return whether expressions have the same values on both sides of a comparison."""
    sides = (evaluate(targets, points, {comparison: side}) for side in (True, False))
    for one, other in zip(*sides, strict=True):
        size = np.maximum(np.abs(one), np.abs(other))
        # Negated, as values that are not finite do not agree.
        if not np.all(np.abs(one - other) <= _SAME * size):
            return False
    return True
