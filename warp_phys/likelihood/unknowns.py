"""Unknowns: what a fit estimates, and the real line on which it moves.

Every unknown lives on its support (or inside the caller's bounds) and is moved along the whole
real line by the bijection of that support, so that no step leaves it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from warp_phys.systems.model.supports import (
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

    def middle(self) -> float:
        """Return the coordinate of the middle of the usual range."""
        ends = self.coordinate(torch.tensor(self.usual, dtype=torch.float64))
        return float(ends.mean())

    def spread(self) -> float:
        """Return half the width of the usual range on the line, by which a start may be off."""
        ends = self.coordinate(torch.tensor(self.usual, dtype=torch.float64))
        return max(0.5 * abs(float(ends[1] - ends[0])), 0.1)


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

    @cached_property
    def blocks(self) -> list[tuple[Support, Tensor]]:
        """The supports there are, each with the places of its unknowns."""
        places: dict[Support, list[int]] = {}
        for place, entry in enumerate(self.entries):
            places.setdefault(entry.support, []).append(place)
        return [(support, torch.tensor(listed)) for support, listed in places.items()]

    @cached_property
    def real(self) -> Tensor:
        """(D,), whether the support is the whole line."""
        return torch.tensor([entry.support == "real" for entry in self.entries])

    @cached_property
    def middles(self) -> Tensor:
        """(D,), coordinates of the middles of the usual ranges."""
        return torch.tensor([entry.middle() for entry in self.entries], dtype=torch.float64)

    @cached_property
    def spreads(self) -> Tensor:
        """(D,), half the widths of the usual ranges on the line."""
        return torch.tensor([entry.spread() for entry in self.entries], dtype=torch.float64)

    @cached_property
    def wide(self) -> Tensor:
        """(D,), the standard deviations on the line of guesses that hardly say anything."""
        return torch.where(self.real, 4.0 * self.spreads, self.spreads + _WIDE)

    @cached_property
    def _places(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Where parameters and where initial states stand: among the unknowns, in the system."""
        parts = []
        for kind in ("parameter", "initial_state"):
            chosen = [place for place, entry in enumerate(self.entries) if entry.kind == kind]
            targets = [self.entries[place].index for place in chosen]
            parts.append((torch.tensor(chosen).long(), torch.tensor(targets).long()))
        return parts[0], parts[1]

    def physical(self, z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return parameters (L, P) and initial states (L, S) at coordinates z (L, D).

        Args:
            z: Coordinates of L lanes.
            rows: (L,) the trajectory of each.
        """
        parameters, initial = self.parameters[rows], self.initial_state[rows]
        values = self.values(z)
        for table, (places, targets) in zip((parameters, initial), self._places, strict=True):
            table[:, targets] = values[:, places]
        return parameters, initial

    def slopes(self, z: Tensor) -> Tensor:
        """Return the derivatives (L, D) of the physical values by the coordinates."""
        return self._by_support(slope_of_physical, z)

    def values(self, z: Tensor) -> Tensor:
        """Return the physical values (L, D)."""
        return self._by_support(to_physical, z)

    def _by_support(self, function: Callable[[Tensor, Support], Tensor], z: Tensor) -> Tensor:
        out = torch.empty_like(z)
        for support, places in self.blocks:
            out[:, places] = function(z[:, places], support)
        return out

    def sizes(self, z: Tensor) -> Tensor:
        """Return what changes of coordinates are compared with, (L, D): 1, or the value if real."""
        return torch.where(self.real, z.abs().maximum(1e-3 * self.spreads), 1.0)

    def far_out(self, z: Tensor) -> Tensor:
        """Return which coordinates have run to an end of their support, (L, D)."""
        return ((z - self.middles).abs() > self.spreads + _FAR) & ~self.real

    def directions(self) -> tuple[int, ...]:
        """Return what the entries are as the engine numbers them: parameter j, state -1 - s."""
        return tuple(
            entry.index if entry.kind == "parameter" else -1 - entry.index for entry in self.entries
        )
