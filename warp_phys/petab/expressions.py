"""Expressions: formulas of SBML and PEtab as trees of numbers, names and operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Name:
    """A reference to a quantity by its identifier."""

    name: str


@dataclass(frozen=True)
class Operation:
    """An operation on expressions; `evaluation.py` lists the known ones."""

    operation: str
    arguments: tuple[Expression, ...] = ()


Expression: TypeAlias = Number | Name | Operation

TIME = Operation("time")


def sum_of(terms: list[Expression]) -> Expression:
    """Return the sum of any number of terms, zero for none."""
    if len(terms) < 2:
        return terms[0] if terms else Number(0.0)
    return Operation("plus", tuple(terms))


def product(*factors: Expression) -> Expression:
    """Return the product of expressions, without factors that are one."""
    kept = tuple(factor for factor in factors if factor != Number(1.0))
    if len(kept) < 2:
        return kept[0] if kept else Number(1.0)
    return Operation("times", kept)


def quotient(numerator: Expression, denominator: Expression) -> Expression:
    """Return numerator / denominator."""
    return Operation("divide", (numerator, denominator))


def replaced(expression: Expression, change: Callable[[str], Expression]) -> Expression:
    """Return the expression with each name replaced by what `change` returns for it.

    Example:
        >>> replaced(sum_of([Name("a"), Name("b")]), lambda name: Name(name.upper()))
        Operation(operation='plus', arguments=(Name(name='A'), Name(name='B')))
    """
    if isinstance(expression, Name):
        return change(expression.name)
    if isinstance(expression, Number):
        return expression
    return Operation(
        expression.operation, tuple(replaced(part, change) for part in expression.arguments)
    )


def names_in(expression: Expression) -> Iterator[str]:
    """Yield every name in an expression, repeated ones again."""
    if isinstance(expression, Name):
        yield expression.name
    elif isinstance(expression, Operation):
        for part in expression.arguments:
            yield from names_in(part)
