"""Transitions that change states in few directions only: the identity plus a low rank."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.recurrence.transitions.transitions import DiagonalPlusLowRank


class IdentityPlusLowRank(DiagonalPlusLowRank):
    """A = I + left right^T: all states lie in theta_0 plus the span of B and `left`.

    Args:
        left: the left factor, shape (D, r).
        right: the right factor, shape (D, r).
    """

    def __init__(self, left: Tensor, right: Tensor) -> None:
        super().__init__(left.new_ones(len(left)), left, right)

    def to(self, dtype: torch.dtype, /) -> IdentityPlusLowRank:
        """The same matrix with its factors cast to a dtype."""
        return IdentityPlusLowRank(self.left.to(dtype), self.right.to(dtype))
