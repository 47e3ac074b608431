"""A quadratic penalty that keeps unknowns near a start, equivalent to a normal prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Anchor:
    """A weak pull towards a start, for unknowns that the data leave open.

    Attributes:
        center: (L, D), coordinates.
        precision: (D,), one over the variance.
    """

    center: Tensor
    precision: Tensor

    def penalty(self, z: Tensor, lanes: Tensor) -> Tensor:
        """Return what the anchor adds to the objective (n,) of lanes at z (n, D)."""
        # -log of a normal density N(center, 1 / precision), without its constant.
        return 0.5 * ((z - self.center[lanes]).square() * self.precision).sum(dim=1)

    def add(self, z: Tensor, lanes: Tensor, matrix: Tensor, vector: Tensor) -> None:
        """Add its terms to packed matrices (n, K) and vectors (n, D) of normal equations."""
        size = z.shape[1]
        # Entry (d, d) of a lower triangle packed row by row stands at d (d + 3) / 2.
        diagonal = torch.arange(size) * (torch.arange(size) + 3) // 2
        matrix[:, diagonal] += self.precision
        # b is minus the gradient of the objective.
        vector += (self.center[lanes] - z) * self.precision
