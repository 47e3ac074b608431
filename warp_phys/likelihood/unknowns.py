"""The unknowns of a fit together: their coordinates, and the values that these stand for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from warp_phys.likelihood.derived import Derived
from warp_phys.likelihood.unknown import Unknown, spans_decades
from warp_phys.systems.model.supports import (
    Support,
    bounds,
    slope_of_physical,
    to_physical,
    to_unconstrained,
)

# A coordinate this far beyond its usual range counts as the end of the support: a factor of e^14,
# or a distance to a bound of a millionth of the width. Beyond a start even further out, a smaller
# distance counts: that of the longest step.
_FAR, _BEYOND = 14.0, 2.0
# Distance from a bound that counts as none: relative to the bound where bounds lie decades apart,
# otherwise to the distance of the bounds.
_NEAR, _NEARER = 1e-3, 1e-6


@dataclass(frozen=True)
class Unknowns:
    """The D unknowns of a fit, and the known values of all other quantities.

    Attributes:
        entries: The unknowns, those that are shared first.
        parameters: (N, P), known values; those of unknowns are overwritten. Unknown parameters of
            the noise, Q of them, have further columns, so that all tables of parameters are
            (N, P + Q) where there are any.
        initial_state: (N, S), likewise.
        known: (N, D), whether a trajectory has a known value of an unknown of the others; None
            where each unknown is estimated in every trajectory.
        places: (N, s), the position of each shared unknown of a trajectory among all shared
            unknowns of its group; None where all s have the same groups, so that they are
            0 to s - 1.
        derived: Quantities that follow from the unknowns; None without any.
    """

    entries: tuple[Unknown, ...]
    parameters: Tensor
    initial_state: Tensor
    known: Tensor | None = None
    places: Tensor | None = None
    derived: Derived | None = None

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def shared(self) -> int:
        """How many unknowns are shared; they come first."""
        return sum(entry.shared for entry in self.entries)

    @property
    def width(self) -> int:
        """How many different shared unknowns a group has at most."""
        return self.shared if self.places is None else int(self.places.max()) + 1

    @cached_property
    def noisy(self) -> Tensor:
        """(D,), which of them are parameters of the noise."""
        return torch.tensor([entry.kind == "noise" for entry in self.entries], dtype=torch.bool)

    @property
    def of_system(self) -> int:
        """P, how many parameters the system has."""
        return self.parameters.shape[1] - int(self.noisy.sum())

    def without_noise(self) -> Unknowns:
        """Return the unknowns of the system alone."""
        kept = (~self.noisy).nonzero()[:, 0]
        shared = int((~self.noisy[: self.shared]).sum())
        return replace(
            self,
            entries=tuple(self.entries[place] for place in kept.tolist()),
            parameters=self.parameters[:, : self.of_system],
            known=None if self.known is None else self.known[:, kept],
            places=None if self.places is None else self.places[:, :shared],
        )

    def select(self, rows: Tensor) -> Unknowns:
        """Return the unknowns of some trajectories."""
        return replace(
            self,
            parameters=self.parameters[rows],
            initial_state=self.initial_state[rows],
            known=None if self.known is None else self.known[rows],
            places=None if self.places is None else self.places[rows],
            derived=None if self.derived is None else self.derived.select(rows),
        )

    def estimated(self) -> Tensor:
        """Return (N, D): whether a trajectory has an unknown, rather than a known value of it."""
        if self.known is None:
            return torch.ones(len(self.parameters), len(self), dtype=torch.bool)
        return ~self.known

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
    def _columns(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Positions of parameters and of initial states: among the unknowns, and in the system."""
        parts = []
        for initial in (False, True):
            chosen = [
                place
                for place, entry in enumerate(self.entries)
                if (entry.kind == "initial_state") == initial
            ]
            targets = [self.entries[place].index for place in chosen]
            parts.append((torch.tensor(chosen).long(), torch.tensor(targets).long()))
        return parts[0], parts[1]

    def physical(
        self, z: Tensor, rows: Tensor, guess: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return parameters (L, P) and initial states (L, S) at coordinates z (L, D).

        Args:
            z: Coordinates of L lanes.
            rows: (L,) the trajectory of each.
            guess: (L, S), initial states at similar coordinates, where those are steady states.
        """
        parameters, initial = self.parameters[rows], self.initial_state[rows]
        values = self.values(z)
        # `rows` indexes with a tensor and so makes copies, into which unknowns are written.
        for table, (places, targets) in zip((parameters, initial), self._columns, strict=True):
            if not len(places):
                continue
            found = values[:, places]
            if self.known is not None:
                found = torch.where(self.known[rows][:, places], table[:, targets], found)
            table[:, targets] = found
        if self.derived is not None:
            own = self.of_system
            found, initial = self.derived.completed(parameters[:, :own], initial, rows, guess)
            parameters = torch.cat([found, parameters[:, own:]], dim=1)
        return parameters, initial

    def chain(
        self, z: Tensor, rows: Tensor, parameters: Tensor, initial: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the derivatives by z of parameters (L, P, D) and of initial states (L, S, D).

        Args:
            z: (L, D), coordinates.
            rows: (L,), the trajectory of each lane.
            parameters: (L, P) at these coordinates.
            initial: (L, S), likewise.
        """
        slopes = torch.where(self.estimated()[rows], self.slopes(z), 0.0)
        tables = (
            z.new_zeros(*parameters.shape, len(self)),
            z.new_zeros(*initial.shape, len(self)),
        )
        for table, (places, targets) in zip(tables, self._columns, strict=True):
            table[:, targets, places] = slopes[:, places]
        if self.derived is None:
            return tables
        own = self.of_system
        by_parameter, by_state = self.derived.slopes(parameters[:, :own], initial, rows)
        table = torch.cat([by_parameter @ tables[0][:, :own], tables[0][:, own:]], dim=1)
        return table, tables[1] + by_state @ tables[0][:, :own]

    def by_coordinates(self, chain: tuple[Tensor, Tensor]) -> Tensor:
        """Return the derivatives (L, E, D) of the E directions of an engine by z, see `chain`."""
        parameters, states = chain
        rows = [
            parameters[:, direction] if direction >= 0 else states[:, -1 - direction]
            for direction in self.directions()
        ]
        return torch.stack(rows, dim=1)

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
        blocks = self.blocks
        if len(blocks) == 1:
            found = function(z, blocks[0][0])
            return z.clone() if found is z else found
        out = torch.empty_like(z)
        for support, places in blocks:
            out[:, places] = function(z[:, places], support)
        return out

    def sizes(self, z: Tensor) -> Tensor:
        """Return the scale of changes in coordinates, (L, D): 1, or the value of a real unknown."""
        # A change of a logarithm is a relative change already. A real unknown is compared with its
        # own value, or with a thousandth of its usual range where the value is near zero.
        return torch.where(self.real, z.abs().maximum(1e-3 * self.spreads), 1.0)

    def far_out(self, z: Tensor, start: Tensor) -> Tensor:
        """Return which coordinates have reached an end of their support, (L, D).

        Args:
            z: (L, D), coordinates.
            start: (L, D), where the minimization started.
        """
        allowed = (self.spreads + _FAR).maximum((start - self.middles).abs() + _BEYOND)
        # Real unknowns have no end to run to.
        return ((z - self.middles).abs() > allowed) & ~self.real

    def bound_reached(self, z: Tensor) -> Tensor:
        """Return (L, D) 1 where a coordinate has come to its upper end, -1 to its lower, else 0.

        This concerns finite bounds other than zero, towards which an optimum beyond them drives a
        coordinate without end; towards zero, the coordinate is a logarithm.
        """
        found = torch.zeros_like(z)
        if not self.bounded:
            return found
        values = self.values(z)
        for place, entry in enumerate(self.entries):
            low, high = bounds(entry.support)
            decades = spans_decades(low, high)
            for end, sign in ((low, -1.0), (high, 1.0)):
                if math.isinf(end) or end == 0.0:
                    continue
                # Over decades, a distance from a bound counts relative to the bound.
                reach = abs(end) if decades or math.isinf(high - low) else high - low
                share = _NEAR if decades else _NEARER
                near = (values[:, place] - end).abs() <= share * reach
                found[:, place] = torch.where(near, sign * entry.rising, found[:, place])
        return found

    @cached_property
    def bounded(self) -> bool:
        """Whether there are finite bounds other than zero."""
        ends = [end for entry in self.entries for end in bounds(entry.support)]
        return any(math.isfinite(end) and end != 0.0 for end in ends)

    def directions(self) -> tuple[int, ...]:
        """Return the directions of differentiation, as engines number them.

        Parameter j is j, and the initial value of state s is -1 - s. Those of the unknowns come
        first, then those of quantities that follow from them. Parameters of the noise, on which the
        flow does not depend, are P, P + 1, ...
        """
        own = tuple(
            -1 - entry.index if entry.kind == "initial_state" else entry.index
            for entry in self.entries
        )
        return own if self.derived is None else own + self.derived.directions()

    def flow_directions(self) -> tuple[int, ...]:
        """Return the directions on which the flow depends: all but those of the noise."""
        return tuple(one for one in self.directions() if one < self.of_system)
