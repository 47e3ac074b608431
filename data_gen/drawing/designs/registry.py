"""Finds sampling designs: the package's own by name, others as objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from warp_phys.data_gen.drawing.designs.design import Design
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.systems.errors import UsageError
from warp_phys.systems.registries.by_file import classes_by_name

Sampling: TypeAlias = str | Design
"""The name of a design that comes with the package, or a design."""


def shipped_designs() -> dict[str, type[Design]]:
    """Return the designs that the files of this folder define, by name.

    Example:
        >>> shipped_designs()["sobol"].__name__
        'Sobol'
    """
    return classes_by_name("warp_phys.data_gen.drawing.designs", Design)


def as_design(sampling: object) -> Design:
    """Return a design unchanged, or the design of a name.

    Raises:
        UsageError: No design has that name, or it is neither a design nor text.
    """
    if isinstance(sampling, Design):
        return sampling
    known = shipped_designs()
    if not isinstance(sampling, str) or sampling not in known:
        listing = ", ".join(f'"{name}"' for name in known)
        raise UsageError(f"expected sampling as one of {listing}, or a Design, got {sampling!r}")
    return known[sampling]()


def unit_points(
    streams: Streams, names: Sequence[str], n: int, count: int, sampling: Sampling
) -> NDArray[np.float64]:
    """Return one point strictly inside the unit cube for each trajectory, (count, names).

    Args:
        streams: The random streams, from the first requested trajectory on.
        names: The drawn quantities, one column each; there may be none.
        n: Number of trajectories of the whole data set.
        count: Number of requested trajectories.
        sampling: The design.

    Raises:
        UsageError: The design gives points of another shape or outside the cube.
    """
    design = as_design(sampling)
    if not names:
        return np.empty((count, 0))
    points = np.asarray(design.points(streams, names, n, count), dtype=np.float64)
    if points.shape != (count, len(names)):
        raise UsageError(
            f"{type(design).__name__}.points should return one point for each trajectory, of shape "
            f"{(count, len(names))}; received {points.shape}"
        )
    if not ((points > 0.0) & (points < 1.0)).all():
        raise UsageError(
            f"{type(design).__name__}.points should return numbers above 0 and below 1; received "
            f"{points.min():g} to {points.max():g}"
        )
    return points
