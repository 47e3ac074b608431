"""Recipes of parameters and initial states, and their values for given uniform numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from warp_phys.data_gen.drawing.quantity import (
    Floats,
    Recipe,
    given_values,
    is_drawn,
    is_number,
    quantiles,
    rows_of,
)
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.system import System

Given: TypeAlias = Mapping[str, Recipe] | ArrayLike | None
"""Recipes by name, a whole table, or nothing."""


class Block(NamedTuple):
    """The `size` trajectories from number `first` on, of the n of the whole data set."""

    n: int
    first: int
    size: int


@dataclass(frozen=True)
class TableRecipe:
    """The recipe of a block's table, (size, P + S): parameters, then initial states, in order.

    Attributes:
        system: The system.
        labels: The name of each column, such as "parameter alpha".
        given: The table, (size, P + S), NaN for values that are drawn or derived.
        drawn: Column -> its range or distribution, for those drawn at random.
        derived: Columns of the initial states that follow from the parameters.
    """

    system: System
    labels: tuple[str, ...]
    given: Floats
    drawn: Mapping[int, Recipe]
    derived: tuple[int, ...]

    @property
    def drawn_labels(self) -> list[str]:
        """The labels of the columns that are drawn."""
        return [self.labels[column] for column in self.drawn]

    @property
    def columns(self) -> dict[str, int]:
        """Name -> column; a name shared by a parameter and a state means the parameter."""
        columns: dict[str, int] = {}
        for column, name in enumerate(self.system.parameter_names + self.system.state_names):
            columns.setdefault(name, column)
        return columns

    def varies(self, column: int) -> bool:
        """Return whether redrawing can change a column."""
        # Derived states change if some parameter, in the columns before the states, is drawn.
        follows = column in self.derived
        return column in self.drawn or (follows and min(self.drawn, default=column) < self._split)

    def table(self, rows: NDArray[np.int64], numbers: Floats) -> Floats:
        """Return the values for uniform numbers, (len(rows), P + S).

        Args:
            rows: The trajectory of the block for each row; one trajectory may occur many times.
            numbers: In (0, 1), (len(rows), drawn).
        """
        values = self.given[rows]
        for k, (column, recipe) in enumerate(self.drawn.items()):
            values[:, column] = quantiles(self.labels[column], recipe, numbers[:, k])
        if self.derived:
            states = _derived_states(self.system, values[:, : self._split])
            for column in self.derived:
                values[:, column] = states[column - self._split]
        return values

    @property
    def _split(self) -> int:
        return len(self.system.parameters)


def known_states(system: System, initial_states: Given) -> tuple[str, ...]:
    """Return the states whose initial value is given as one number for all trajectories.

    Their values are known to whoever reads the records. Ranges, distributions and arrays are not
    known in this sense, because a model learns what varies from trajectory to trajectory as an
    unknown; and neither are the system's own default numbers, which the caller did not state.
    """
    # fit and the models compute these states from the parameters, which are the unknowns.
    if system.has_initial_state or not isinstance(initial_states, Mapping):
        return ()
    numbers = {name for name, recipe in initial_states.items() if is_number(recipe)}
    return tuple(name for name in system.state_names if name in numbers)


def table_recipe(
    system: System, parameters: Given, initial_states: Given, block: Block
) -> TableRecipe:
    """Return the recipe of a block's values.

    Args:
        system: The system.
        parameters: Recipes by name, an array (n, P), or None for the system's own.
        initial_states: The same with (n, S).
        block: The trajectories.

    Raises:
        UnknownNameError: A name is not a parameter or a state of the system.
        UsageError: A shape is wrong, or a recipe is of no known kind.
    """
    labels = [f"parameter {name}" for name in system.parameter_names]
    labels += [f"initial state {name}" for name in system.state_names]
    own: dict[str, Any] = {
        parameter.name: parameter.range if parameter.fixed is None else parameter.fixed
        for parameter in system.parameters
    }
    recipes = _recipes(system, "parameter", parameters, own, block.n)
    derived = []
    if initial_states is None or isinstance(initial_states, Mapping):
        left = [name for name in system.state_names if name not in (initial_states or {})]
        if left and _derives(system, labels, recipes, block):
            derived = [labels.index(f"initial state {name}") for name in left]
    recipes += _recipes(system, "state", initial_states, system.default_initial_state, block.n)

    given = np.full((block.size, len(labels)), np.nan)
    drawn: dict[int, Recipe] = {}
    for column, (label, recipe) in enumerate(zip(labels, recipes, strict=True)):
        if column in derived:
            continue
        if is_drawn(recipe):
            drawn[column] = recipe
        else:
            given[:, column] = given_values(label, rows_of(label, recipe, *block), block.size)
    return TableRecipe(system, tuple(labels), given, drawn, tuple(derived))


def _recipes(
    system: System, kind: str, given: Given, own: Mapping[str, Any], n: int
) -> list[Recipe]:
    """Return the recipe of each parameter or state in order, by default the system's own.

    A pair among the system's own values is a range, also if it is a list.
    """
    kind = f"{kind} of {type(system).__name__}"
    if given is not None and not isinstance(given, Mapping):
        return list(_table(given, kind, list(own), n).T)
    for name in given or {}:
        if name not in own:
            raise unknown_name(kind, name, own)
    defaults = {name: value if np.ndim(value) == 0 else tuple(value) for name, value in own.items()}
    return list((defaults | dict(given or {})).values())


def _table(given: ArrayLike, kind: str, names: Sequence[str], n: int) -> Floats:
    """Return a table that is given as a whole, (n, names)."""
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(
            f"expected numbers for each {kind}, as a mapping or an array; got {given!r}"
        ) from None
    if values.shape != (n, len(names)):
        hint = "; transpose it" if values.shape == (len(names), n) else ""
        raise UsageError(
            f"expected an array of shape ({n}, {len(names)}), one column for each {kind} "
            f"({', '.join(names)}), got shape {values.shape}{hint}"
        )
    return values


def _derives(
    system: System, labels: Sequence[str], recipes: Sequence[Recipe], block: Block
) -> bool:
    """Return whether the system derives its initial states from these parameters.

    A system may decide by its parameters, so that it is asked at the medians of their
    distributions.
    """
    if not system.has_initial_state:
        return False
    one = Block(block.n, block.first, 1)
    middle = [
        quantiles(label, recipe, np.array([0.5]))
        if is_drawn(recipe)
        else given_values(label, rows_of(label, recipe, *one), 1)
        for label, recipe in zip(labels, recipes, strict=False)
    ]
    values = np.stack(middle)
    return system.initial_state_at(torch.from_numpy(values)) is not None


def _derived_states(system: System, parameters: Floats) -> Floats:
    """Return the initial states (S, m) that follow from parameters (m, P)."""
    states = system.initial_state_at(torch.from_numpy(parameters.T.copy()))
    if states is None:
        raise UsageError(
            f"{type(system).__name__}.initial_state gave states for some parameters and None for "
            "others; expected one or the other"
        )
    return states.numpy()
