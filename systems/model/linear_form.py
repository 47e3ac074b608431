"""What a system declares of a right-hand side that is affine in coordinates of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from warp_phys.systems.errors import UsageError


@dataclass(frozen=True)
class LinearForm:
    """Coordinates q of the parameters in which a right-hand side is affine.

    A system that declares one also has a method `linear_rhs(t, y, q, p)`, its right-hand side
    as a function of q. There and in `from_coordinates`, `p` holds the fixed parameters; the free
    ones are None.

    Attributes:
        names: Names of the coordinates.
        units: Their units.
        to_coordinates: p -> the coordinates, in order.
        from_coordinates: (q, p) -> parameter name -> value, or None if q does not determine it.
            Names may be left out.

    Example:
        >>> LinearForm(
        ...     names=("k_over_m",),
        ...     units=("1/s2",),
        ...     to_coordinates=lambda p: (p.k / p.m,),
        ...     from_coordinates=lambda q, p: {"k": None if p.m is None else q.k_over_m * p.m},
        ... ).names
        ('k_over_m',)
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    to_coordinates: Callable[[Any], Sequence[Any]]
    from_coordinates: Callable[[Any, Any], Mapping[str, Tensor | None]]

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != len(self.units):
            raise UsageError(
                "LinearForm needs one unit for each of its names; "
                f"received names {self.names!r} and units {self.units!r}"
            )
