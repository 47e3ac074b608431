"""The lanes of a block of fits: every trajectory once for each start that its group tries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.likelihood.noise_levels import NoiseLevels, noise_levels
from warp_phys.likelihood.problem import FitProblem

# Lanes in one call of an engine: this bounds the memory, and is enough to keep every core busy.
LANES = 16_384


@dataclass(frozen=True)
class Setting:
    """L lanes; lanes of different starts belong to different groups.

    Attributes:
        start: (L,), the start of each lane, 0 to K - 1.
        rows: (L,), its trajectory.
        group: (L,), its group, numbered over all starts.
        levels: Objective and weights of these groups.
    """

    start: Tensor
    rows: Tensor
    group: Tensor
    levels: NoiseLevels


def setting_of(problem: FitProblem, use: Tensor | None = None) -> Setting:
    """Return the lanes of the starts that each group tries.

    Args:
        problem: N trajectories in G groups.
        use: (K, G), whether a group tries a start; None for one start of all groups.
    """
    if use is None:
        use = torch.ones(1, int(problem.group.max()) + 1, dtype=torch.bool)
    start, rows = use[:, problem.group].nonzero(as_tuple=True)
    # Groups are numbered in the order of (start, group), without those that do not take part.
    number = (use.flatten().cumsum(0) - 1).view_as(use)
    group = number[start, problem.group[rows]]
    return Setting(start, rows, group, noise_levels(problem, rows, group))
