"""The unknowns of a fit, and their unconstrained coordinates.

Every unknown has a support (or the caller's bounds). A bijection maps the support to the whole real
line (logarithm, logit or identity), on which the minimizer is unconstrained, so that no step leaves
the support.
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

# A coordinate this far beyond its usual range counts as the end of the support: a factor of e^14,
# or a distance to a bound of a millionth of the width.
_FAR = 14.0
# A parameter may plausibly lie outside its usual range by this many powers of e.
_WIDE = 2.0
# A start keeps this distance from the ends of a support, as a share of its width.
_INSIDE = 1e-6


@dataclass(frozen=True)
class Unknown:
    """One estimated quantity.

    Attributes:
        kind: "parameter" or "initial_state".
        name: Its name.
        unit: Its unit.
        index: Its position among the system's parameters or states.
        support: The values that it may have: its support, or the caller's bounds.
        usual: (low, high), its usual range.
        shared: Whether all trajectories of a group have the same value.
        ranged: Whether the usual range is one that the system declares.
    """

    kind: Literal["parameter", "initial_state"]
    name: str
    unit: str
    index: int
    support: Support
    usual: tuple[float, float]
    shared: bool = False
    ranged: bool = False

    @property
    def label(self) -> str:
        """The name; for an initial state, the name of the state followed by `(0)`."""
        return self.name if self.kind == "parameter" else f"{self.name}(0)"

    @property
    def logarithmic(self) -> bool:
        """Whether the coordinate is the logarithm of the value."""
        return self.support == "positive"

    def coordinate(self, value: Tensor) -> Tensor:
        """Return the real coordinates of values, which are first moved inside the support."""
        return to_unconstrained(self.inside(value), self.support)

    def inside(self, value: Tensor) -> Tensor:
        """Return values moved away from the ends of the support, where coordinates are infinite."""
        low, high = bounds(self.support)
        if low == -torch.inf and high == torch.inf:
            return value
        # The margin of a half-infinite support is a share of the usual range, its only scale.
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
        """Return half the width of the usual range in coordinates, the likely error of a start."""
        ends = self.coordinate(torch.tensor(self.usual, dtype=torch.float64))
        # A narrow range, or one value twice, still leaves room for a start to be wrong.
        return max(0.5 * abs(float(ends[1] - ends[0])), 0.1)

    def wide(self) -> float:
        """Return the standard deviation, in coordinates, of a nearly uninformative prior."""
        # A real unknown may plausibly lie several ranges away; a positive one a few powers of e.
        return 4.0 * self.spread() if self.support == "real" else self.spread() + _WIDE


@dataclass(frozen=True)
class Unknowns:
    """The D unknowns of a fit, and the known values of all other quantities.

    Attributes:
        entries: The unknowns, those that are shared first.
        parameters: (N, P), known values; those of unknowns are overwritten.
        initial_state: (N, S), likewise.
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
        """The distinct supports, each with the positions of its unknowns."""
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
        """(D,), half the widths of the usual ranges in coordinates."""
        return torch.tensor([entry.spread() for entry in self.entries], dtype=torch.float64)

    @cached_property
    def wide(self) -> Tensor:
        """(D,), standard deviations, in coordinates, of a nearly uninformative prior."""
        return torch.tensor([entry.wide() for entry in self.entries], dtype=torch.float64)

    @cached_property
    def _places(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Positions of parameters and of initial states: among the unknowns, and in the system."""
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
        # `rows` indexes with a tensor and so makes copies, into which unknowns are written.
        for table, (places, targets) in zip((parameters, initial), self._places, strict=True):
            table[:, targets] = values[:, places]
        return parameters, initial

    def slopes(self, z: Tensor) -> Tensor:
        """Return the derivatives dtheta/dz (L, D) of the physical values by the coordinates."""
        return self._by_support(slope_of_physical, z)

    def values(self, z: Tensor) -> Tensor:
        """Return the physical values (L, D)."""
        return self._by_support(to_physical, z)

    def coordinates(self, values: Tensor) -> Tensor:
        """Return the coordinates (L, D) of physical values inside their supports."""
        return self._by_support(to_unconstrained, values)

    def _by_support(self, function: Callable[[Tensor, Support], Tensor], z: Tensor) -> Tensor:
        out = torch.empty_like(z)
        for support, places in self.blocks:
            out[:, places] = function(z[:, places], support)
        return out

    def sizes(self, z: Tensor) -> Tensor:
        """Return the scale of changes in coordinates, (L, D): 1, or the value of a real unknown."""
        # A change of a logarithm is a relative change already. A real unknown is compared with its
        # own value, or with a thousandth of its usual range where the value is near zero.
        return torch.where(self.real, z.abs().maximum(1e-3 * self.spreads), 1.0)

    def far_out(self, z: Tensor) -> Tensor:
        """Return which coordinates have reached an end of their support, (L, D)."""
        # Real unknowns have no end to run to.
        return ((z - self.middles).abs() > self.spreads + _FAR) & ~self.real

    def directions(self) -> tuple[int, ...]:
        """Return the directions of differentiation, as engines number them.

        Parameter j is j, and the initial value of state s is -1 - s.
        """
        return tuple(
            entry.index if entry.kind == "parameter" else -1 - entry.index for entry in self.entries
        )
