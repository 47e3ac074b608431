"""Recipes: how the values of one quantity, one for each trajectory, are given or drawn."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from warp_phys.data_gen.drawing.distributions import Distribution
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.systems.errors import UsageError

Recipe: TypeAlias = float | tuple[float, float] | Distribution | ArrayLike
"""A number for all, a range (low, high) as a tuple, a distribution, or one value each."""

Floats: TypeAlias = NDArray[np.float64]


def draw(streams: Streams, name: str, recipe: Recipe, n: int) -> Floats:
    """Return one value for each of n trajectories, (n,).

    Args:
        streams: The random streams, from the first of these trajectories on.
        name: The quantity, such as "parameter alpha", for its random stream and for messages.
        recipe: A number, a tuple (low, high) drawn from uniformly, an object with `ppf`, or an
                array (n,); for a block of a larger data set, the result of `rows_of`.
        n: Number of trajectories.

    Raises:
        UsageError: The recipe is none of these.
    """
    if is_drawn(recipe):
        return quantiles(name, recipe, streams.uniform(name, n)[:, 0])
    return given_values(name, recipe, n)


def rows_of(name: str, recipe: Recipe, n: int, first: int, count: int) -> Recipe:
    """Return the recipe of trajectories first to first + count of n: arrays are sliced.

    Raises:
        UsageError: An array is not of shape (n,), or the recipe is of no known kind.
    """
    if is_drawn(recipe):
        return recipe
    values = _numbers(name, recipe, n)
    return recipe if values.ndim == 0 else values[first : first + count]


def is_drawn(recipe: Recipe) -> bool:
    """Return whether values are drawn at random, from a range or a distribution."""
    return isinstance(recipe, tuple | Distribution)


def is_number(recipe: Recipe) -> bool:
    """Return whether the value is one number for all trajectories."""
    return not isinstance(recipe, tuple | Distribution) and np.ndim(recipe) == 0


def quantiles(name: str, recipe: Recipe, probabilities: Floats) -> Floats:
    """Return the quantiles of a range or a distribution, of the shape of the probabilities."""
    if isinstance(recipe, Distribution):
        return np.asarray(recipe.ppf(probabilities), dtype=np.float64)
    ends = _numbers(name, recipe, 2)
    if not np.isfinite(ends).all() or ends[0] > ends[1]:
        raise UsageError(f"expected the range of {name} as (low, high), got {recipe!r}")
    low, high = ends
    return low + (high - low) * probabilities


def given_values(name: str, recipe: Recipe, n: int) -> Floats:
    """Return a number or an array as one value for each of n trajectories, (n,)."""
    values = _numbers(name, recipe, n)
    return np.full(n, values) if values.ndim == 0 else values.copy()


def _numbers(name: str, recipe: Recipe, n: int) -> Floats:
    """Return a recipe as an array, () for one number or (n,) for one number each."""
    try:
        values = np.asarray(recipe, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(
            f"expected {name} as a number, a tuple (low, high), a distribution or an array "
            f"({n},), got {recipe!r}"
        ) from None
    if isinstance(recipe, tuple) and values.shape != (2,):
        raise UsageError(f"expected the range of {name} as (low, high), got {recipe!r}")
    if values.shape not in ((), (n,)):
        raise UsageError(
            f"expected {name} with one value for each of {n} trajectories, got shape {values.shape}"
        )
    return values
