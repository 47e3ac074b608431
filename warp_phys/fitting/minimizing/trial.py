"""A step that Levenberg-Marquardt proposes for the groups that are not finished."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Trial:
    """A step of some groups.

    Attributes:
        lanes: (n,), their lanes.
        z: (n, D), where the step leads.
        group: (n,), which of the groups each lane belongs to.
        active: (G,), the groups.
        gained: (G,), by how much the objective should fall.
        fine: (G,), whether the equations had a solution.
        cut: (G,), whether the step was cut short.
    """

    lanes: Tensor
    z: Tensor
    group: Tensor
    active: Tensor
    gained: Tensor
    fine: Tensor
    cut: Tensor

    def without(self, done: Tensor) -> Trial:
        """Return the trial of the groups that are not done (G,)."""
        going = (~done).nonzero()[:, 0]
        number = torch.full((len(done),), -1)
        number[going] = torch.arange(going.numel())
        kept = ~done[self.group]
        return Trial(
            lanes=self.lanes[kept],
            z=self.z[kept],
            group=number[self.group[kept]],
            active=self.active[going],
            gained=self.gained[going],
            fine=self.fine[going],
            cut=self.cut[going],
        )
