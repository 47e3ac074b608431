"""Integration from sample to sample, all trajectories together, by way of the stops between."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.forcing.schedule import InputPiece

# A leg is the time between two neighboring samples or stops. A move maps the inputs, the start (n,)
# and the length (n,) of a leg and the states (S, n) at its start to the states at its end.
Move = Callable[[InputPiece | None, Tensor, Tensor, Tensor], Tensor]


def walk(problem: Problem, move: Move) -> Tensor:
    """Return the states (N, T, S) at the samples. No leg crosses a sample or a stop."""
    stops = _stops_ahead(problem)
    # The sort is stable: if a stop and a sample coincide, the stop comes first, so that the sample
    # shows the state after the dose.
    legs, order = torch.cat([stops, problem.times], dim=1).sort(dim=1, stable=True)
    piece = problem.first_piece()
    previous, y, states = problem.start, problem.initial + problem.initial_jump(), []
    for leg, number in zip(legs.unbind(1), order.unbind(1), strict=True):
        # After its last sample a trajectory takes legs of length zero, and so do padded samples.
        reached = torch.where(leg <= problem.end, leg, previous)
        length = reached - previous
        if _matters(length):
            y = move(problem.drive(piece), previous, length, y)
        previous = reached
        if problem.schedule is not None:
            here = (number < stops.shape[1]) & (leg <= problem.end)
            y = y + torch.where(here, problem.schedule.jump(piece), 0.0)
            piece = piece + here.long()
        states.append(y)
    # argsort of the sorting permutation is its inverse: the position of every sample among the
    # legs.
    place = order.argsort(dim=1)[:, stops.shape[1] :]
    chosen = place[None].expand(problem.initial.shape[0], -1, -1)
    return torch.stack(states, dim=2).gather(2, chosen).permute(1, 2, 0)


def _matters(length: Tensor) -> bool:
    """Return whether a leg can change states or their derivatives.

    A leg of length zero may still have a derivative by its length: dy/dlength = f.
    """
    if length.requires_grad or forward_ad.unpack_dual(length).tangent is not None:
        return True
    return bool((length != 0.0).any())


def _stops_ahead(problem: Problem) -> Tensor:
    """Return the stops after the initial time (N, J), infinite elsewhere.

    Doses at the initial time itself are in `Problem.initial_jump`.
    """
    if problem.schedule is None:
        return problem.times[:, :0]
    stops = problem.schedule.stops
    return torch.where(stops > problem.start[:, None], stops, torch.inf)
