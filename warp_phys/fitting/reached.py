"""Where the starts of a search ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reached:
    """Where K starts ended in G groups of N trajectories.

    Attributes:
        z: (K, N, D), coordinates.
        objective: (K, G), of coarse integration; infinite where a start was not tried or could not
            be integrated.
        converged: (K, G).
    """

    z: Tensor
    objective: Tensor
    converged: Tensor

    def joined(self, other: Self) -> Self:
        """Return both sets of starts."""
        return type(self)(
            torch.cat([self.z, other.z]),
            torch.cat([self.objective, other.objective]),
            torch.cat([self.converged, other.converged]),
        )

    def spread(self, rows: Tensor, groups: Tensor, count: int) -> Self:
        """Return this as starts of a larger problem, in which the other groups did not try them.

        Args:
            rows: (N,), the trajectories of the larger problem that these are.
            groups: (G',), which of its groups these are.
            count: How many trajectories it has.
        """
        starts, _, unknowns = self.z.shape
        z = self.z.new_zeros(starts, count, unknowns)
        z[:, rows] = self.z
        objective = self.objective.new_full((starts, len(groups)), torch.inf)
        objective[:, groups] = self.objective
        converged = torch.zeros(starts, len(groups), dtype=torch.bool)
        converged[:, groups] = self.converged
        return type(self)(z, objective, converged)

    @property
    def counted(self) -> Tensor:
        """(G,), how many starts were integrated."""
        return self.objective.isfinite().sum(dim=0)

    @property
    def best(self) -> Tensor:
        """(G,), the start that reached the lowest objective."""
        return self.objective.argmin(dim=0)
