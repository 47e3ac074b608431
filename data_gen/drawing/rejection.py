"""Rejection sampling: draws that violate a constraint are repeated for each trajectory alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from warp_phys.data_gen.drawing.constraints import Constraint
from warp_phys.data_gen.drawing.quantity import Floats
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.data_gen.drawing.values import TableRecipe
from warp_phys.systems.errors import UsageError

_ROUNDS = 15
"""Round r draws a trajectory up to 2**r times more: 2**15 draws in all, so that one in a thousand
that holds is found all but surely (all fail with probability e**-32)."""

_CANDIDATES = 2**18
"""Draws held in memory at a time."""


def redraw(
    recipe: TableRecipe, table: Floats, constraints: Sequence[Constraint], streams: Streams
) -> NDArray[np.int64]:
    """Replace, in place, each row that violates a constraint by its next draw that satisfies all.

    All drawn quantities of a trajectory are redrawn together, in rounds: round r has a stream for
    each quantity with 2**r numbers for each trajectory. The result therefore depends on the seed
    and the trajectory alone, and the number of rounds only grows as the logarithm of the draws.

    Args:
        recipe: Maps random numbers to values.
        table: The first draws, (count, P + S).
        constraints: The constraints that have to hold.
        streams: The random streams, from the block's first trajectory on.

    Returns:
        The number of draws that violated a constraint, (count,).

    Raises:
        UsageError: No draw of a trajectory satisfies all, or given values violate a constraint.
    """
    rejected = np.zeros(len(table), dtype=np.int64)
    met = _met(recipe, table, constraints)
    pending = np.flatnonzero(~met.all(axis=1))
    if pending.size:
        _check_redrawable(recipe, met, constraints, streams)
    # The first one is tried alone, so that constraints that never hold together fail quickly.
    for rows in (pending[:1], pending[1:]):
        left = rows
        for number in range(_ROUNDS):
            if left.size:
                left = _one_round(recipe, table, rejected, constraints, streams, left, number)
        if left.size:
            raise _never_met(recipe, constraints, streams, left[:1])
    return rejected


def _one_round(
    recipe: TableRecipe,
    table: Floats,
    rejected: NDArray[np.int64],
    constraints: Sequence[Constraint],
    streams: Streams,
    rows: NDArray[np.int64],
    number: int,
) -> NDArray[np.int64]:
    """Put the first valid draw of each row into the table; return the rows without one."""
    width = 2**number
    left = []
    # ceil(rows width / _CANDIDATES) parts, to bound the memory.
    for part in np.array_split(rows, -(-rows.size * width // _CANDIDATES)):
        candidates = _candidates(recipe, streams, part, number)
        holds = _met(recipe, candidates, constraints).all(axis=1).reshape(-1, width)
        # argmax of truth values is the position of the first True.
        found, which = holds.any(axis=1), holds.argmax(axis=1)
        chosen = np.arange(part.size) * width + which
        table[part[found]] = candidates[chosen[found]]
        # Before this round there were the initial draw and 1 + 2 + 4 + ... = width - 1 redraws.
        rejected[part[found]] = width + which[found]
        left.append(part[~found])
    return np.concatenate(left)


def _candidates(
    recipe: TableRecipe, streams: Streams, rows: NDArray[np.int64], number: int
) -> Floats:
    """Return the draws of a round, (rows * 2**number, P + S), those of a row in succession."""
    width = 2**number
    numbers = [
        streams.uniform_at(f"{label}, redraw {number}", rows, width).ravel()
        for label in recipe.drawn_labels
    ]
    return recipe.table(np.repeat(rows, width), np.stack(numbers, axis=1))


def _met(
    recipe: TableRecipe, table: Floats, constraints: Sequence[Constraint]
) -> NDArray[np.bool_]:
    """Return which constraints hold, (rows, constraints)."""
    values = {name: table[:, column] for name, column in recipe.columns.items()}
    return np.stack([constraint.holds(values) for constraint in constraints], axis=1)


def _check_redrawable(
    recipe: TableRecipe, met: NDArray[np.bool_], constraints: Sequence[Constraint], streams: Streams
) -> None:
    """Raise UsageError if a constraint is violated by values that are not drawn."""
    columns = recipe.columns
    for constraint, holds in zip(constraints, met.T, strict=True):
        varies = any(recipe.varies(columns[name]) for name in constraint.names)
        if not holds.all() and not varies:
            trajectory = streams.first + int(np.argmin(holds))
            raise UsageError(
                f"trajectory {trajectory} breaks constraint {constraint}, and its values are "
                "given, not drawn; change them, or give a range or a distribution for one of them"
            )


def _never_met(
    recipe: TableRecipe, constraints: Sequence[Constraint], streams: Streams, row: NDArray[np.int64]
) -> UsageError:
    """Return the error that names the constraint least often met by a trajectory's draws."""
    met = _met(recipe, _candidates(recipe, streams, row, _ROUNDS - 1), constraints)
    rates = met.mean(axis=0)
    hardest = int(rates.argmin())
    return UsageError(
        f"trajectory {streams.first + int(row[0])} broke a constraint in each of {2**_ROUNDS} "
        f"draws; of {len(constraints)} constraints {constraints[hardest]} holds least often, in "
        f"{rates[hardest]:.2%} of them; draw from ranges in which the constraints hold together"
    )
