"""A quadratic penalty on unknowns: a normal prior, or a weak pull towards a start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Penalty(Protocol):
    """What is added to the objective of a minimization."""

    def penalty(self, z: Tensor, lanes: Tensor) -> Tensor:
        """Return what is added (n,) for lanes at z (n, D)."""

    def add(self, z: Tensor, lanes: Tensor, matrix: Tensor, vector: Tensor) -> None:
        """Add its terms to packed matrices (n, K) and vectors (n, D) of normal equations."""


@dataclass(frozen=True)
class Anchor:
    """The penalty of a normal distribution N(center, precision^-1) in coordinates.

    Attributes:
        center: (L, D), coordinates.
        precision: (D, D), the inverse of the covariance.
    """

    center: Tensor
    precision: Tensor

    def penalty(self, z: Tensor, lanes: Tensor) -> Tensor:
        """Return what the anchor adds to the objective (n,) of lanes at z (n, D)."""
        # -log of the normal density, without its constant.
        away = z - self.center[lanes]
        return 0.5 * ((away @ self.precision) * away).sum(dim=1)

    def add(self, z: Tensor, lanes: Tensor, matrix: Tensor, vector: Tensor) -> None:
        """Add its terms to packed matrices (n, K) and vectors (n, D) of normal equations."""
        rows, columns = torch.tril_indices(z.shape[1], z.shape[1])
        matrix += self.precision[rows, columns]
        # b is minus the gradient of the objective.
        vector += (self.center[lanes] - z) @ self.precision
