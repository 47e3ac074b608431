"""The schedule of an integration: the times of doses and of kinks or jumps of inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.forcing.inputs import InputTable, held_inputs

if TYPE_CHECKING:
    from warp_phys.systems.model.system import System


@dataclass(frozen=True)
class InputPiece:
    """The inputs of n trajectories, each on one piece of its schedule: first + slope (t - origin).

    Attributes:
        origin: (n,), the time at which the inputs are `first`.
        first: (I, n), the inputs at the origin.
        slope: (I, n), their rates of change.
    """

    origin: Tensor
    first: Tensor
    slope: Tensor

    def at(self, t: Tensor) -> Tensor:
        """Return the inputs (I, *batch, n) at times t (*batch, n)."""
        wide = (slice(None), *(None,) * (t.ndim - 1))
        return self.first[wide] + self.slope[wide] * (t - self.origin)

    def select(self, index: Tensor) -> InputPiece:
        """Return the inputs of some trajectories."""
        return InputPiece(self.origin[index], self.first[:, index], self.slope[:, index])


@dataclass(frozen=True)
class Schedule:
    """The times at which a right-hand side or a state is not smooth, and what changes there.

    Across a kink or a jump a step would lose the order of its method, so that steps end at stops.

    Between two stops the inputs are linear in time. Piece j ends at stop j, and there are J + 1
    pieces.

    Attributes:
        stops: (N, J), ascending, infinite after the last; no step crosses a stop.
        jumps: (S, N, J), the amounts added to the states at the stops, or None without doses.
        origin: (N, J + 1), see `InputPiece`, for the inputs on each piece; None without inputs.
        first: (I, N, J + 1), likewise.
        slope: (I, N, J + 1), likewise.
    """

    stops: Tensor
    jumps: Tensor | None
    origin: Tensor | None
    first: Tensor | None
    slope: Tensor | None

    def tensors(self) -> list[Tensor]:
        """Return the tensors of the schedule, without those that are None."""
        every = (self.stops, self.jumps, self.origin, self.first, self.slope)
        return [tensor for tensor in every if tensor is not None]

    def map(self, change: Callable[[Tensor], Tensor]) -> Schedule:
        """Return the schedule with every tensor changed."""
        tensors = (self.stops, self.jumps, self.origin, self.first, self.slope)
        return Schedule(*(None if tensor is None else change(tensor) for tensor in tensors))  # type: ignore[arg-type]

    def select(self, index: Tensor | slice) -> Schedule:
        """Return the schedule of some trajectories."""
        return Schedule(
            self.stops[index],
            None if self.jumps is None else self.jumps[:, index],
            None if self.origin is None else self.origin[index],
            None if self.first is None else self.first[:, index],
            None if self.slope is None else self.slope[:, index],
        )

    def drive(self, piece: Tensor) -> InputPiece | None:
        """Return the inputs on piece (N,) of each trajectory."""
        if self.origin is None or self.first is None or self.slope is None:
            return None
        wide = piece[None, :, None].expand(self.first.shape[0], -1, 1)
        return InputPiece(
            self.origin.gather(1, piece[:, None])[:, 0],
            self.first.gather(2, wide)[:, :, 0],
            self.slope.gather(2, wide)[:, :, 0],
        )

    def with_stops(self, times: Tensor) -> Schedule:
        """Return the schedule with further stops (N, M), at which nothing changes."""
        stops, order = torch.cat([self.stops, times], dim=1).sort(dim=1, stable=True)
        own = order < self.stops.shape[1]
        # The piece after each stop is the one after the last stop of this schedule.
        piece = torch.cat([torch.zeros_like(order[:, :1]), own.long().cumsum(dim=1)], dim=1)

        def spread(values: Tensor | None) -> Tensor | None:
            return None if values is None else values.gather(2, piece.expand(len(values), -1, -1))

        jumps = self.jumps
        if jumps is not None:
            nothing = jumps.new_zeros(*jumps.shape[:2], times.shape[1])
            every = torch.cat([jumps, nothing], dim=2)
            jumps = every.gather(2, order.expand(len(jumps), -1, -1))
        origin = None if self.origin is None else self.origin.gather(1, piece)
        return Schedule(stops, jumps, origin, spread(self.first), spread(self.slope))

    def stop(self, number: Tensor) -> Tensor:
        """Return the time of stop number (N,), infinite after the last."""
        return _take(self.stops, number, torch.inf)

    def jump(self, number: Tensor) -> Tensor | float:
        """Return the amounts (S, N) added to the states at stop number (N,)."""
        if self.jumps is None:
            return 0.0
        return torch.stack([_take(row, number, 0.0) for row in self.jumps])


def build_schedule(
    system: System, table: InputTable | None, doses: Doses | None
) -> Schedule | None:
    """Return the schedule of inputs and doses, None if there are neither."""
    if table is None and doses is None:
        return None
    knots = None if table is None else _infinite_after_last(table.times)
    parts = [] if knots is None else [knots]
    if doses is not None:
        parts.append(_infinite_after_last(doses.times))
    # A stable sort: if a knot and a dose coincide, the knot comes first; the order has no effect on
    # the solution, since the state after both stops is the same.
    stops, order = torch.cat(parts, dim=1).sort(dim=1, stable=True)
    jumps = None if doses is None else _placed_jumps(system, doses, order)
    if table is None or knots is None:
        return Schedule(stops, jumps, None, None, None)
    held = held_inputs(system, knots.device)
    return Schedule(stops, jumps, *_pieces(knots, table.values.permute(2, 0, 1), held, order))


def _infinite_after_last(times: Tensor) -> Tensor:
    return torch.where(times.isnan(), torch.inf, times)


def _placed_jumps(system: System, doses: Doses, order: Tensor) -> Tensor:
    """Return the amounts added to the states at each stop, (S, N, J).

    Args:
        system: The system.
        doses: The doses, M for each trajectory.
        order: (N, J), the position of each stop in the list of all knots followed by all doses.
    """
    count = len(doses.states)
    jumps = torch.stack([doses.rise(system, number).T for number in range(count)], dim=2)
    # Knots come first in that list and add nothing.
    nothing = jumps.new_zeros(*jumps.shape[:2], order.shape[1] - count)
    every = torch.cat([nothing, jumps], dim=2)
    return every.gather(2, order.expand(jumps.shape[0], -1, -1))


def _pieces(
    knots: Tensor, values: Tensor, held: Tensor, order: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return origin (N, J + 1), first and slope (I, N, J + 1) of the inputs between the stops.

    Args:
        knots: (N, K), infinite after the last.
        values: (I, N, K).
        held: (I,), True if an input keeps its value until the next knot.
        order: (N, J), the knot that each stop is; K or more for a dose.
    """
    passed = (order < knots.shape[1]).long().cumsum(dim=1)
    passed = torch.cat([torch.zeros_like(passed[:, :1]), passed], dim=1)  # knots before each piece
    last = (knots.isfinite().sum(dim=1, keepdim=True) - 1).clamp(min=0)
    # Piece j lies between the knots passed - 1 and passed. Before the first knot and after the
    # last, both are the same knot, the length is zero, and the input is constant.
    left = (passed - 1).clamp(min=0).minimum(last)
    right = torch.where(passed == 0, left, (left + 1).minimum(last))
    wide = [place.expand(values.shape[0], -1, -1) for place in (left, right)]
    first, after = values.gather(2, wide[0]), values.gather(2, wide[1])
    origin = knots.gather(1, left)
    length = knots.gather(1, right) - origin
    slope = (after - first) / torch.where(length > 0.0, length, 1.0)
    return origin, first, torch.where(held[:, None, None] | (length <= 0.0), 0.0, slope)


def _take(table: Tensor, number: Tensor, beyond: float) -> Tensor:
    """Return entry number (N,) of each row of a table (N, J), `beyond` after the last entry."""
    inside = number < table.shape[1]
    found = table.gather(1, number.clamp(max=table.shape[1] - 1)[:, None])[:, 0]
    return torch.where(inside, found, beyond)
