"""Sums and counts over the groups of trajectories that share unknowns."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem


def pooled(problem: FitProblem, values: Tensor) -> Tensor:
    """Return sums (G, ...) of values (N, ...) over the trajectories of each group."""
    groups = int(problem.group.max()) + 1
    return values.new_zeros((groups, *values.shape[1:])).index_add_(0, problem.group, values)


def values_of(problem: FitProblem) -> Tensor:
    """Return how many values each group has, (G,)."""
    return pooled(problem, problem.records.seen.sum(dim=(1, 2)).double())


def over_group(problem: FitProblem, values: Tensor) -> Tensor:
    """Return sums of values (N, ...) over each trajectory's group, at every trajectory."""
    if not problem.unknowns.shared:
        return values
    return pooled(problem, values)[problem.group]


def unknowns_of_group(problem: FitProblem, moving: Tensor, usable: Tensor) -> Tensor:
    """Return (N,), how many unknowns were estimated in each trajectory's group.

    Args:
        problem: The problem.
        moving: (N, D), whether an unknown was estimated in a trajectory.
        usable: (N,), whether a trajectory took part.
    """
    shared = problem.unknowns.shared
    taking_part = moving & usable.unsqueeze(1)
    # Own unknowns count once for each trajectory, shared ones once for all that share them.
    own = over_group(problem, taking_part[:, shared:].sum(dim=1).double())
    if not shared:
        return own
    total = agreed(problem, taking_part[:, :shared].double(), "amax")
    return own + total.sum(dim=1)[problem.group]


def agreed(problem: FitProblem, values: Tensor, reduction: str) -> Tensor:
    """Return one number (G, W) for each shared unknown of a group, from those (N, s) of its lanes.

    Args:
        problem: The problem.
        values: (N, s).
        reduction: "sum" or "amax".
    """
    unknowns, groups = problem.unknowns, int(problem.group.max()) + 1
    out = values.new_zeros(groups * unknowns.width)
    at = shared_at(problem).flatten()
    return out.scatter_reduce_(0, at, values.flatten(), reduction).view(groups, unknowns.width)


def shared_at(problem: FitProblem) -> Tensor:
    """Return the position (N, s) of shared unknowns among those of all groups, G W."""
    unknowns = problem.unknowns
    places = unknowns.places
    if places is None:
        places = torch.arange(unknowns.shared).expand(len(problem), -1)
    return problem.group.unsqueeze(1) * unknowns.width + places


def same_in_group(problem: FitProblem, z: Tensor) -> Tensor:
    """Return coordinates (..., N, D) with each shared unknown at the mean over its trajectories.

    A shared unknown is one number, so that the starts of those that share it must not differ.
    """
    shared = problem.unknowns.shared
    if not shared:
        return z
    weight = problem.unknowns.estimated()[:, :shared].double()
    # Where a shared unknown is known in all trajectories of a label, it has no effect.
    weight = torch.where(
        agreed(problem, weight, "sum").flatten()[shared_at(problem)] > 0, weight, 1
    )
    count = agreed(problem, weight, "sum")
    at = shared_at(problem)
    z = z.clone()
    for part in z.view(-1, *z.shape[-2:]):
        mean = agreed(problem, part[:, :shared] * weight, "sum") / count.clamp_min(1.0)
        part[:, :shared] = mean.flatten()[at]
    return z
