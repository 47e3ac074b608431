"""From sample to sample, all trajectories in step, over the stops between them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.forcing.schedule import Drive

# From the inputs, where a leg begins, how long it is, and the states (S, N) to the states at its
# end.
Move = Callable[[Drive | None, Tensor, Tensor, Tensor], Tensor]


def walk(problem: Problem, move: Move) -> Tensor:
    """Return the states (N, T, S) at the samples; no leg crosses a sample or a stop."""
    stops = _stops_ahead(problem)
    # Where a stop and a sample coincide, the stop comes first: samples show what doses have done.
    legs, order = torch.cat([stops, problem.times], dim=1).sort(dim=1, stable=True)
    piece = problem.first_piece()
    previous, y, states = problem.start, problem.initial + problem.initial_jump(), []
    for leg, number in zip(legs.unbind(1), order.unbind(1), strict=True):
        # Behind the last sample of a trajectory its time stands still.
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
    # The place of every sample among the legs.
    place = order.argsort(dim=1)[:, stops.shape[1] :]
    chosen = place[None].expand(problem.initial.shape[0], -1, -1)
    return torch.stack(states, dim=2).gather(2, chosen).permute(1, 2, 0)


def _matters(length: Tensor) -> bool:
    """Whether a leg changes states or their derivatives: these may even where it has no length."""
    if length.requires_grad or forward_ad.unpack_dual(length).tangent is not None:
        return True
    return bool((length != 0.0).any())


def _stops_ahead(problem: Problem) -> Tensor:
    """Return the stops after the initial time (N, J), infinite elsewhere."""
    if problem.schedule is None:
        return problem.times[:, :0]
    stops = problem.schedule.stops
    return torch.where(stops > problem.start[:, None], stops, torch.inf)
