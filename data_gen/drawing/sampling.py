"""Parameters and initial states of a whole data set or of any block of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from warp_phys.data_gen.drawing.constraints import Condition, read_constraints
from warp_phys.data_gen.drawing.designs.registry import Sampling, as_design, unit_points
from warp_phys.data_gen.drawing.quantity import Floats, Recipe
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.data_gen.drawing.rejection import redraw
from warp_phys.data_gen.drawing.values import Block, table_recipe
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.supports import contains, describe
from warp_phys.systems.model.system import System


class Sample(NamedTuple):
    """What was drawn for `count` trajectories.

    Attributes:
        parameters: (count, P), in the system's order and units.
        initial_states: (count, S), in the system's order and units.
        rejected: Draws that broke a constraint before the one kept, (count,).
    """

    parameters: Floats
    initial_states: Floats
    rejected: NDArray[np.int64]


def sample(
    system: System,
    n: int,
    *,
    first: int = 0,
    count: int | None = None,
    parameters: Mapping[str, Recipe] | ArrayLike | None = None,
    initial_states: Mapping[str, Recipe] | ArrayLike | None = None,
    seed: int,
    sampling: Sampling = "random",
    constraints: Condition | Sequence[Condition] = (),
) -> Sample:
    """Return the parameters and initial states of trajectories first to first + count of n.

    A block is bit-equal to the same rows of the whole.

    Args:
        system: The system.
        n: Number of trajectories of the whole data set.
        first: The first one wanted.
        count: How many are wanted; None for all from the first on.
        parameters: A mapping from name to a number, a range as a tuple (low, high), a distribution
            or an array (n,); or an array (n, P) in the system's order. Those not given are drawn
            uniformly from the system's ranges, fixed ones have their value.
        initial_states: The same with (n, S). Those not given follow from the parameters where the
            system says how, else from its default numbers and ranges.
        seed: The seed of the random streams.
        sampling: How the values drawn fill their ranges and distributions together. "random":
            independently; a value depends on the seed, its name and the trajectory alone, so
            giving one quantity leaves the others as they were. "sobol": a scrambled Sobol'
            sequence over all quantities drawn, more even; the first trajectories are the same
            whatever n, and most even where n is a power of 2. "latin_hypercube": of every quantity
            one value in each of n parts of equal probability; all values depend on n. Or any other
            `Design`.
        constraints: What all values must meet: one or several texts over names of parameters and
            states, such as "beta > gamma" or "alpha + beta < 1 and length > 0.5", or functions
            that take a mapping name -> values (m,) and return truth values (m,). Where one is
            broken all drawn quantities of that trajectory are drawn again, from independent
            random numbers whatever `sampling` is, until all hold: the outcome is the distribution
            restricted to where they hold. A name that a parameter and a state share is the
            parameter's.

    Raises:
        UnknownNameError: A name is not a parameter or a state of the system.
        UsageError: A shape is wrong, a value lies outside its support, a constraint cannot be
            read, gives no truth values or never holds, or given values break it.
    """
    design = as_design(sampling)
    block = Block(n, first, n - first if count is None else count)
    if first < 0 or block.size < 1 or first + block.size > n:
        raise UsageError(
            f"expected trajectories from 0 to {n}, at least one, got {first} to "
            f"{first + block.size}"
        )
    recipe = table_recipe(system, parameters, initial_states, block)
    required = read_constraints(
        constraints, f"parameter or state of {type(system).__name__}", list(recipe.columns)
    )
    streams = Streams(seed, first)
    points = unit_points(streams, recipe.drawn_labels, n, block.size, design)
    table = recipe.table(np.arange(block.size), points)
    rejected = (
        redraw(recipe, table, required, streams)
        if required
        else np.zeros(block.size, dtype=np.int64)
    )
    values, starts = np.split(table, [len(system.parameters)], axis=1)
    _check_support(values, "parameter", system.parameters, first)
    _check_support(starts, "initial state", system.states, first)
    return Sample(values.copy(), starts.copy(), rejected)


def _check_support(
    values: Floats, kind: str, entries: Sequence[Parameter | State], first: int
) -> None:
    for column, entry in enumerate(entries):
        inside = contains(torch.from_numpy(values[:, column]), entry.support).numpy()
        if not inside.all():
            row = int(np.argmin(inside))
            raise UsageError(
                f"{kind} {entry.name!r} of trajectory {first + row} is "
                f"{values[row, column]:.10g} {entry.unit}, outside its support "
                f"({describe(entry.support)}); change what was given for it"
            )
