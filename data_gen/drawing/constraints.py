"""Constraints between parameters and initial states, such as "beta > gamma"."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from warp_phys.systems.errors import UsageError, unknown_name

Condition: TypeAlias = str | Callable[[Mapping[str, NDArray[np.float64]]], Any]
"""A text over names, or a function from name -> values (n,) to truth values (n,)."""

_ALLOWED = (
    ast.Expression,
    ast.Compare,
    ast.BoolOp,
    ast.BinOp,
    ast.UnaryOp,
    ast.Name,
    ast.Constant,
    ast.boolop,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.expr_context,
)
_REFUSED = (ast.MatMult, ast.LShift, ast.RShift, ast.BitXor, ast.Is, ast.IsNot, ast.In, ast.NotIn)


@dataclass(frozen=True)
class Constraint:
    """A condition that the values of every trajectory must satisfy.

    Attributes:
        condition: The text or the function that the user gave.
        names: The names it reads, in order; for a function, all names.
    """

    condition: Condition
    names: tuple[str, ...]

    def holds(self, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
        """Return for which trajectories, (n,), the values (n,) by name satisfy the condition.

        Raises:
            UsageError: The outcome is not one truth value for each trajectory.
        """
        if isinstance(self.condition, str):
            table = pd.DataFrame({name: values[name] for name in self.names})
            outcome = np.asarray(table.eval(self.condition, engine="python"))
        else:
            outcome = np.asarray(self.condition(values))
        expected = next(iter(values.values())).shape
        if outcome.dtype != np.bool_ or outcome.shape != expected:
            raise UsageError(
                f"expected constraint {self} to be true or false for each trajectory, got "
                f"{outcome.dtype} of shape {outcome.shape} for {expected[0]} trajectories; write "
                'a comparison, such as "beta > gamma"'
            )
        return outcome

    def __str__(self) -> str:
        if isinstance(self.condition, str):
            return repr(self.condition)
        return getattr(self.condition, "__name__", repr(self.condition))


def read_constraints(
    given: Condition | Sequence[Condition], kind: str, known: Sequence[str]
) -> tuple[Constraint, ...]:
    """Return the given constraints, one or several.

    Args:
        given: Texts over the known names, with + - * / // % **, comparisons, and, or, not; or
            functions.
        kind: What the names stand for.
        known: The names that exist.

    Raises:
        UnknownNameError: A text has another name.
        UsageError: Neither text nor function, or a text with anything else in it.
    """
    conditions = [given] if isinstance(given, str) or callable(given) else list(given)
    return tuple(_read(condition, kind, tuple(known)) for condition in conditions)


def _read(condition: object, kind: str, known: tuple[str, ...]) -> Constraint:
    if callable(condition):
        return Constraint(condition, known)
    if not isinstance(condition, str):
        raise UsageError(
            f'expected a constraint as a text such as "beta > gamma" or a function, '
            f"got {condition!r}"
        )
    try:
        nodes = list(ast.walk(ast.parse(condition.strip(), mode="eval")))
    except (SyntaxError, ValueError):
        raise _not_understood(condition) from None
    # Pandas would also evaluate attributes and calls, hence arbitrary code from a text. Only the
    # nodes of arithmetic, comparisons and logic are accepted.
    for node in nodes:
        number = not isinstance(node, ast.Constant) or type(node.value) in (int, float)
        if not isinstance(node, _ALLOWED) or isinstance(node, _REFUSED) or not number:
            raise _not_understood(condition)
    names = dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name))
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known)
    if not names:
        raise UsageError(f"expected constraint {condition!r} to name a {kind}")
    return Constraint(condition.strip(), tuple(names))


def _not_understood(condition: str) -> UsageError:
    return UsageError(
        f"expected a constraint as a comparison of names and numbers, with + - * / ** ( ) and "
        f'"and", "or", "not"; got {condition!r}; anything else can be a function of name -> values'
    )
