"""The trial step that Levenberg-Marquardt proposes for the groups that have not finished."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Trial:
    """A trial step of some groups.

    Attributes:
        lanes: (n,), the lanes of the groups.
        z: (n, D), the coordinates after the step.
        group: (n,), which of the groups each lane belongs to.
        active: (G,), the groups.
        gained: (G,), the decrease of the objective that the quadratic model predicts.
        fine: (G,), whether the equations had a solution.
        cut: (G,), whether the step was shortened.
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
        # The groups that remain are renumbered 0 to G' - 1, and their lanes with them.
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
