"""Coordinates: the unknowns of a trajectory as standardized, unconstrained real numbers.

A network emits any real number, while physical values are confined to supports. Each unknown (free
parameter, initial state, noise level) is mapped to the real line by the bijection of its support
(logarithm, logit or identity), then standardized by its median and spread over the training data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.supports import Support, to_physical, to_unconstrained
from warp_phys.systems.model.system import System

Kind = Literal["parameter", "initial_state", "noise_sd"]


@dataclass(frozen=True)
class Physical:
    """The physical values of coordinates.

    Attributes:
        parameters: (..., P), fixed ones included.
        initial_state: (..., S), the state at the first sample.
        noise_sd: (..., O), the noise of each output (of its logarithm where log-normal).
    """

    parameters: Tensor
    initial_state: Tensor
    noise_sd: Tensor


@dataclass(frozen=True)
class Coordinate:
    """One unknown: its entry of `Physical`, and its support."""

    kind: Kind
    name: str
    index: int
    support: Support

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Coordinate:
        """Build from the plain values of `dataclasses.asdict`, after a round trip through JSON."""
        support = entry["support"]
        return cls(
            **(entry | {"support": tuple(support) if isinstance(support, list) else support})
        )


class Coordinates(nn.Module):
    """The Q unknowns of a model, and the constant values of all other quantities.

    Args:
        system: The system whose parameters and states they are.
        entries: The unknowns, in order.
        outputs: How many outputs are observed (each may have a noise level).
    """

    center: Tensor
    spread: Tensor
    constant_parameters: Tensor
    constant_state: Tensor
    constant_noise: Tensor

    def __init__(self, system: System, entries: Sequence[Coordinate], outputs: int) -> None:
        super().__init__()
        self.system = system
        self.entries = tuple(entries)
        for name, size in (
            ("center", len(self.entries)),
            ("spread", len(self.entries)),
            ("constant_parameters", len(system.parameters)),
            ("constant_state", len(system.states)),
            ("constant_noise", outputs),
        ):
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))
        self.spread.fill_(1.0)

    def __len__(self) -> int:
        return len(self.entries)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the unknowns as plain values."""
        return [asdict(entry) for entry in self.entries]

    def positions(self, kind: Kind) -> list[int]:
        """Return the positions of the coordinates of one kind."""
        return [place for place, entry in enumerate(self.entries) if entry.kind == kind]

    def encode(self, physical: Physical) -> Tensor:
        """Return coordinates (..., Q) of physical values."""
        columns = [
            to_unconstrained(self._source(physical, entry.kind)[..., entry.index], entry.support)
            for entry in self.entries
        ]
        return (torch.stack(columns, dim=-1) - self.center) / self.spread

    def decode(self, coordinates: Tensor) -> Physical:
        """Return physical values of coordinates (..., Q), in their dtype."""
        values = self._values(self.unscaled(coordinates))
        parameters = self._assembled(values, "parameter", coordinates)
        return Physical(
            parameters=parameters,
            # Some systems define their initial state by their parameters, which leaves nothing to
            # estimate.
            initial_state=implied_initial_state(self.system, parameters)
            if self.system.has_initial_state
            else self._assembled(values, "initial_state", coordinates),
            noise_sd=self._assembled(values, "noise_sd", coordinates),
        )

    def unscaled(self, coordinates: Tensor) -> Tensor:
        """Return unconstrained values (..., Q) of standardized ones."""
        # The inverse of the standardization in `encode`.
        spread, center = self.spread.to(coordinates.dtype), self.center.to(coordinates.dtype)
        return coordinates * spread + center

    def _values(self, line: Tensor) -> list[Tensor]:
        """Return the unknowns (...) of unconstrained values (..., Q), one call per support."""
        # One call per support instead of one per unknown: most unknowns share a support.
        values = list(line.unbind(-1))
        for support in {entry.support for entry in self.entries}:
            places = [place for place, entry in enumerate(self.entries) if entry.support == support]
            alike = line if len(places) == len(values) else line[..., places]
            for place, value in zip(places, to_physical(alike, support).unbind(-1), strict=True):
                values[place] = value
        return values

    def _assembled(self, values: Sequence[Tensor], kind: Kind, like: Tensor) -> Tensor:
        """Return one kind of physical value, (..., how many), for coordinates `like` (..., Q)."""
        batch = like.shape[:-1]
        constants = self._constants(kind).to(like.dtype)
        # Columns are stacked anew instead of written in place, which keeps autograd simple.
        columns = [constant.expand(batch) for constant in constants.unbind(0)]
        for place in self.positions(kind):
            columns[self.entries[place].index] = values[place]
        return torch.stack(columns, dim=-1) if columns else like.new_zeros((*batch, 0))

    def _source(self, physical: Physical, kind: Kind) -> Tensor:
        return {
            "parameter": physical.parameters,
            "initial_state": physical.initial_state,
            "noise_sd": physical.noise_sd,
        }[kind]

    def _constants(self, kind: Kind) -> Tensor:
        return {
            "parameter": self.constant_parameters,
            "initial_state": self.constant_state,
            "noise_sd": self.constant_noise,
        }[kind]


def implied_initial_state(system: System, parameters: Tensor) -> Tensor:
    """Return the initial states (..., S) that follow from parameters (..., P)."""
    states = system.initial_state_at(parameters.movedim(-1, 0))
    if states is None:
        raise UsageError(f"{system.name}.initial_state returned None for some parameters")
    return states.movedim(0, -1)


def build_coordinates(system: System, physical: Physical, outputs: Sequence[str]) -> Coordinates:
    """Choose the unknowns and their scaling from true values (N, ...) of a training set.

    A quantity that does not vary over the set is a known constant. Fixed parameters are never
    unknowns.
    """
    # Unknowns are those that vary: a network can only learn what the training data show.
    found = _varying("parameter", system.parameters, physical.parameters)
    if not system.has_initial_state:
        found += _varying("initial_state", system.states, physical.initial_state)
    noise = physical.noise_sd
    for index, name in enumerate(outputs):
        # A noise level of zero has no logarithm and cannot be an unknown.
        if (noise[:, index] > 0).all() and _spread(noise[:, index].log()) > 0:
            found.append(Coordinate("noise_sd", name, index, "positive"))
    coordinates = Coordinates(system, found, len(outputs))
    for name, values in (
        ("constant_parameters", physical.parameters),
        ("constant_state", physical.initial_state),
        ("constant_noise", noise),
    ):
        getattr(coordinates, name).copy_(values.nanmedian(dim=0).values)
    if found:
        # Center and spread are still 0 and 1 here, so that this returns the unscaled coordinates.
        line = coordinates.encode(physical)
        coordinates.center.copy_(line.nanmedian(dim=0).values)
        coordinates.spread.copy_(torch.stack([_spread(column) for column in line.T]))
    return coordinates


def _varying(kind: Kind, specs: Sequence[Any], values: Tensor) -> list[Coordinate]:
    found = []
    for index, spec in enumerate(specs):
        if getattr(spec, "fixed", None) is None and _spread(values[:, index]) > 0:
            line = to_unconstrained(values[:, index], spec.support)
            if line.isfinite().all() and _spread(line) > 0:
                found.append(Coordinate(kind, spec.name, index, spec.support))
    return found


def _spread(values: Tensor) -> Tensor:
    """Return the standard deviation, or 0 where it is round-off."""
    finite = values[values.isfinite()]
    if finite.numel() < 2:
        return torch.zeros((), dtype=values.dtype)
    deviation = finite.std()
    # A constant that was computed in different ways varies by rounding only.
    negligible = 1e-12 * finite.abs().max().clamp_min(math.ulp(0.0))
    return torch.where(deviation > negligible, deviation, 0.0)
