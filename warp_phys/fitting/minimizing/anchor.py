"""A quadratic penalty that holds unknowns near a start: a normal prior, seen as a matrix."""

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
        """Return what it adds to the objective (n,) of lanes at z (n, D)."""
        return 0.5 * ((z - self.center[lanes]).square() * self.precision).sum(dim=1)

    def add(self, z: Tensor, lanes: Tensor, matrix: Tensor, vector: Tensor) -> None:
        """Add its share to packed matrices (n, K) and vectors (n, D) of normal equations."""
        size = z.shape[1]
        diagonal = torch.arange(size) * (torch.arange(size) + 3) // 2
        matrix[:, diagonal] += self.precision
        vector += (self.center[lanes] - z) * self.precision
