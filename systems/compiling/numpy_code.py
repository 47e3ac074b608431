"""Evaluates traced functions by NumPy, for machines without a compiler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems.compiling.expression import Expression, in_order
from warp_phys.systems.compiling.operations import OPERATIONS
from warp_phys.systems.compiling.tracing import Row, TracedFunction


class NumericFunction:
    """A traced function with its derivatives along given directions.

    Args:
        traced: The function.
        directions: Directions of differentiation: parameter j as j; a negative number is a
            direction in which no parameter changes.
    """

    def __init__(self, traced: TracedFunction, directions: Sequence[int]) -> None:
        self.directions = tuple(directions)
        self.values = traced.values
        self.by_state = _entries(traced.by_state)
        self.by_parameter = [
            (row, place, traced.by_parameter[row][direction])
            for place, direction in enumerate(self.directions)
            for row in range(len(self.values))
            if direction >= 0 and not traced.by_parameter[row][direction].equals(0.0)
        ]
        slopes = [entry[2] for entry in (*self.by_state, *self.by_parameter)]
        self.order = in_order([*self.values, *(slopes if self.directions else ())])

    def __call__(
        self, t: Tensor, y: Tensor, p: Tensor, u: Tensor | None, tangents: Tensor
    ) -> Tensor:
        """Return values and derivatives (1 + D, R, n).

        Args:
            t: (n,).
            y: (S, n).
            p: (P, n).
            u: (I, n), or None without inputs.
            tangents: (D, S, n), the derivatives of the states along each direction.
        """
        found = self._computed(t, y, p, u)
        out = np.zeros((1 + len(self.directions), len(self.values), t.shape[0]))
        for row, expression in enumerate(self.values):
            out[0, row] = found[expression]
        # Forward sensitivities: (df/dy) s_d + df/dq_d for every direction d, (D, n) at a time, over
        # the entries of the Jacobian that are not zero for all values.
        if self.directions:
            moved = tangents.numpy()
            with np.errstate(all="ignore"):
                for row, state, expression in self.by_state:
                    out[1:, row] += found[expression] * moved[:, state]
                for row, place, expression in self.by_parameter:
                    out[1 + place, row] += found[expression]
        return torch.from_numpy(out)

    def _computed(self, t: Tensor, y: Tensor, p: Tensor, u: Tensor | None) -> dict[Expression, Any]:
        return _evaluated(self.order, t, {"y": y, "p": p, "u": u})


class NumericJacobian:
    """The derivatives of a traced function by the states and by time.

    Args:
        traced: The function.
    """

    def __init__(self, traced: TracedFunction) -> None:
        self.by_state = _entries(traced.by_state)
        self.by_time = _entries([(entry,) for entry in traced.by_time])
        self.order = in_order(entry[2] for entry in (*self.by_state, *self.by_time))

    def __call__(
        self, t: Tensor, y: Tensor, p: Tensor, u: Tensor | None, v: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return derivatives (n, S, S) and (S, n) at t (n,), y (S, n), p (P, n), u (I, n).

        The derivative by time includes inputs that change at the rates v (I, n).
        """
        found = _evaluated(self.order, t, {"y": y, "p": p, "u": u, "v": v})
        jacobian = np.zeros((y.shape[1], y.shape[0], y.shape[0]))
        rate = np.zeros(tuple(y.shape))
        for row, state, expression in self.by_state:
            jacobian[:, row, state] = found[expression]
        for row, _, expression in self.by_time:
            rate[row] = found[expression]
        return torch.from_numpy(jacobian), torch.from_numpy(rate)


def _evaluated(
    order: Iterable[Expression], t: Tensor, tables: Mapping[str, Tensor | None]
) -> dict[Expression, Any]:
    """Return the values of ordered expressions; the rows of a table are its variables."""
    variables = {"t": t.numpy()}
    for letter, table in tables.items():
        if table is not None:
            variables |= {f"{letter}[{i}]": row for i, row in enumerate(table.numpy())}
    found: dict[Expression, Any] = {}
    with np.errstate(all="ignore"):
        for expression in order:
            # An operation has operands and no leaf; a variable has its name as leaf, a constant its
            # value.
            if expression.leaf is None:
                arguments = (found[argument] for argument in expression.arguments)
                found[expression] = OPERATIONS[expression.operation](*arguments)
            elif isinstance(expression.leaf, str):
                found[expression] = variables[expression.leaf]
            else:
                found[expression] = expression.leaf
    return found


def _entries(rows: Iterable[Row]) -> list[tuple[int, int, Expression]]:
    return [
        (row, column, entry)
        for row, entries in enumerate(rows)
        for column, entry in enumerate(entries)
        if not entry.equals(0.0)
    ]
