"""Samples parameters and initial states of a whole data set or of any block of it."""

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
    """The values drawn for `count` trajectories.

    Attributes:
        parameters: (count, P), in the system's order and units.
        initial_states: (count, S), in the system's order and units.
        rejected: Number of draws that violated a constraint before the one kept, (count,).
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

    A block is bit-equal to the same rows of the whole data set.

    Args:
        system: The system.
        n: Number of trajectories of the whole data set.
        first: The first trajectory of the block.
        count: The number of trajectories of the block; None for all from the first on.
        parameters: A mapping from name to a number, a range as a tuple (low, high), a distribution
            or an array (n,); or an array (n, P) in the system's order. Omitted ones are drawn
            uniformly from the system's ranges; fixed ones have their value.
        initial_states: The same with (n, S). Omitted ones follow from the parameters if the system
            defines them so, else from its default numbers and ranges.
        seed: The seed of the random streams.
        sampling: The joint design of the drawn values. "random": independent values; each depends
            on the seed, its name and the trajectory alone, so that giving one quantity does not
            change the others. "sobol": a scrambled Sobol' sequence over all drawn quantities,
            which is more even; the first trajectories are the same for any n, and the design is
            balanced if n is a power of 2. "latin_hypercube": every quantity has one value in each
            of n parts of equal probability; all values depend on n. Or any other `Design`.
        constraints: Conditions on all values: one or several texts over names of parameters and
            states, such as "beta > gamma" or "alpha + beta < 1 and length > 0.5", or functions
            that take a mapping name -> values (m,) and return truth values (m,). If a trajectory
            violates one, all its drawn quantities are redrawn, from independent random numbers
            whatever `sampling` is, until all conditions hold: the result is the conditional
            distribution. A name shared by a parameter and a state means the parameter.

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
    # The design fills the unit cube; the inverse distribution functions map each coordinate to its
    # quantity.
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
