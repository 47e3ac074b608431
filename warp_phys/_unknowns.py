"""Unknowns: what a fit estimates, and the real line on which it moves.

Every unknown lives on its support (or inside the caller's bounds) and is moved along the whole
real line by the bijection of that support, so that no step leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from warp_phys.systems._supports import (
    Support,
    bounds,
    slope_of_physical,
    to_physical,
    to_unconstrained,
)

# An unknown further out on the line than this beyond its usual range is at the end of its support.
_FAR = 14.0
# Powers of e by which a parameter may well lie outside its usual range.
_WIDE = 2.0
# Least distance from the ends of a support at which a start is put, as a share of what is usual.
_INSIDE = 1e-6


@dataclass(frozen=True)
class Unknown:
    """One estimated quantity.

    Attributes:
        kind: "parameter" or "initial_state".
        name: Its name.
        unit: Its unit.
        index: Its place among the system's parameters or states.
        support: Where it may be: its support, or the caller's bounds.
        usual: (low, high) where it usually is.
        shared: Whether all trajectories of a group have the same value.
    """

    kind: Literal["parameter", "initial_state"]
    name: str
    unit: str
    index: int
    support: Support
    usual: tuple[float, float]
    shared: bool = False

    @property
    def label(self) -> str:
        """The name; of an initial state, that of the state with `(0)` behind it."""
        return self.name if self.kind == "parameter" else f"{self.name}(0)"

    @property
    def logarithmic(self) -> bool:
        """Whether the coordinate is the logarithm of the value."""
        return self.support == "positive"

    def coordinate(self, value: Tensor) -> Tensor:
        """Return the real coordinate of values, which are first moved inside the support."""
        return to_unconstrained(self.inside(value), self.support)

    def inside(self, value: Tensor) -> Tensor:
        """Return values moved off the ends of the support, where the coordinate is infinite."""
        low, high = bounds(self.support)
        if low == -torch.inf and high == torch.inf:
            return value
        width = high - low if high - low < torch.inf else abs(self.usual[1] - self.usual[0])
        margin = _INSIDE * (width if width > 0.0 else 1.0)
        return value.clamp(
            low + margin if low > -torch.inf else None, high - margin if high < torch.inf else None
        )

    def value(self, coordinate: Tensor) -> Tensor:
        """Return the physical value of a real coordinate."""
        return to_physical(coordinate, self.support)

    def slope(self, coordinate: Tensor) -> Tensor:
        """Return the derivative of the value by the coordinate."""
        return slope_of_physical(coordinate, self.support)

    def middle(self) -> float:
        """Return the coordinate of the middle of the usual range."""
        ends = self.coordinate(torch.tensor(self.usual, dtype=torch.float64))
        return float(ends.mean())

    def spread(self) -> float:
        """Return half the width of the usual range on the line, by which a start may be off."""
        ends = self.coordinate(torch.tensor(self.usual, dtype=torch.float64))
        return max(0.5 * abs(float(ends[1] - ends[0])), 0.1)

    def size(self, coordinate: Tensor) -> Tensor:
        """Return what a change of the coordinate is compared with: 1, or the value itself."""
        if self.support == "real":
            return coordinate.abs().clamp_min(1e-3 * self.spread())
        return torch.ones_like(coordinate)

    def wide(self) -> float:
        """Return the standard deviation on the line of a guess that hardly says anything."""
        return 4.0 * self.spread() if self.support == "real" else self.spread() + _WIDE

    def far_out(self, coordinate: Tensor) -> Tensor:
        """Return whether a coordinate has run to an end of the support."""
        if self.support == "real":
            return torch.zeros_like(coordinate, dtype=torch.bool)
        center, reach = self.middle(), self.spread() + _FAR
        return (coordinate - center).abs() > reach


@dataclass(frozen=True)
class Unknowns:
    """The D unknowns of a fit and the known values beside them.

    Attributes:
        entries: The unknowns, those that are shared first.
        parameters: (N, P), known values; those of unknowns are overwritten.
        initial_state: (N, S), the same.
    """

    entries: tuple[Unknown, ...]
    parameters: Tensor
    initial_state: Tensor

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def shared(self) -> int:
        """How many unknowns are shared; they come first."""
        return sum(entry.shared for entry in self.entries)

    @property
    def labels(self) -> list[str]:
        """Names of the unknowns, initial states marked."""
        return [entry.label for entry in self.entries]

    def physical(self, z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return parameters (L, P) and initial states (L, S) at coordinates z (L, D).

        Args:
            z: Coordinates of L lanes.
            rows: (L,) the trajectory of each.
        """
        values = {"parameter": self.parameters[rows], "initial_state": self.initial_state[rows]}
        for place, entry in enumerate(self.entries):
            values[entry.kind][:, entry.index] = entry.value(z[:, place])
        return values["parameter"], values["initial_state"]

    def slopes(self, z: Tensor) -> Tensor:
        """Return the derivatives (L, D) of the physical values by the coordinates."""
        columns = [entry.slope(z[:, place]) for place, entry in enumerate(self.entries)]
        return torch.stack(columns, dim=1) if columns else torch.zeros_like(z)

    def values(self, z: Tensor) -> Tensor:
        """Return the physical values (L, D)."""
        columns = [entry.value(z[:, place]) for place, entry in enumerate(self.entries)]
        return torch.stack(columns, dim=1) if columns else torch.zeros_like(z)

    def coordinates(self, values: Tensor) -> Tensor:
        """Return the coordinates (L, D) of physical values (L, D)."""
        columns = [entry.coordinate(values[:, place]) for place, entry in enumerate(self.entries)]
        return torch.stack(columns, dim=1) if columns else torch.zeros_like(values)

    def sizes(self, z: Tensor) -> Tensor:
        """Return what changes of the coordinates are compared with, (L, D)."""
        columns = [entry.size(z[:, place]) for place, entry in enumerate(self.entries)]
        return torch.stack(columns, dim=1) if columns else torch.ones_like(z)

    def far_out(self, z: Tensor) -> Tensor:
        """Return which coordinates have run to an end of their support, (L, D)."""
        columns = [entry.far_out(z[:, place]) for place, entry in enumerate(self.entries)]
        return torch.stack(columns, dim=1) if columns else torch.zeros_like(z, dtype=torch.bool)

    def directions(self) -> tuple[int, ...]:
        """Return what the entries are as the engine numbers them: parameter j, state -1 - s."""
        return tuple(
            entry.index if entry.kind == "parameter" else -1 - entry.index for entry in self.entries
        )
