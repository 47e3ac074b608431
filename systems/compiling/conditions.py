"""Conditions of events: truth values that change where the sides of a comparison are equal."""

from __future__ import annotations

from warp_phys.systems.compiling.expression import Expression
from warp_phys.systems.compiling.operations import CONNECTIVES
from warp_phys.systems.errors import UsageError

ABOVE, BELOW = ("gt", "ge"), ("lt", "le")


def decides(expression: Expression) -> bool:
    """Return whether this is a comparison of numbers that changes where they become equal."""
    return expression.operation in (*ABOVE, *BELOW)


def check_condition(condition: Expression, where: str) -> None:
    """Refuse conditions that never become true, or of which nobody can tell when they do.

    Raises:
        UsageError: The condition is constant, or holds at single points only.
    """
    if condition.is_constant:
        raise UsageError(
            f"the condition of {where} is always {str(bool(condition.leaf)).lower()}: it should "
            "depend on time, states, parameters or inputs, like y[0] < 0.0"
        )
    waiting = [condition]
    while waiting:
        expression = waiting.pop()
        if expression.operation in CONNECTIVES:
            waiting += expression.arguments
        elif not decides(expression):
            named = {"eq": "==", "ne": "!="}.get(expression.operation, expression.operation)
            raise UsageError(
                f"the condition of {where} uses {named}; an event happens where a comparison by "
                "<, <=, > or >= becomes true, like y[0] <= 0.0"
            )
