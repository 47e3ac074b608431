"""The identity plus a low-rank matrix, A = I + left right^T."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from warp_phys.recurrence.transitions.diagonal_low_rank import (
    DiagonalPlusLowRank,
    initial_factors,
)
from warp_phys.recurrence.transitions.transition import Start


class IdentityPlusLowRank(DiagonalPlusLowRank):
    """A = I + left right^T: all states lie in theta_0 plus the span of B and `left`.

    Args:
        left: The left factor, shape (D, r).
        right: The right factor, shape (D, r).

    Example:
        >>> import torch
        >>> IdentityPlusLowRank(torch.ones(2, 1), torch.ones(2, 1)).apply(torch.tensor([1.0, 2.0]))
        tensor([4., 5.])
    """

    name: ClassVar[str] = "identity_low_rank"
    starts_at_identity: ClassVar[bool] = True

    def __init__(self, left: Tensor, right: Tensor) -> None:
        super().__init__(left.new_ones(len(left)), left, right)

    @classmethod
    def initial_parameters(cls, start: Start, /) -> dict[str, Tensor]:
        """Return the two factors."""
        return initial_factors(start)

    @classmethod
    def from_parameters(
        cls, _start: Start, parameters: Mapping[str, Tensor], /
    ) -> IdentityPlusLowRank:
        """Return the structure of the two factors."""
        return cls(parameters["left"], parameters["right"])

    def to(self, dtype: torch.dtype, /) -> IdentityPlusLowRank:
        """Return the same matrix with its factors cast to a dtype."""
        return IdentityPlusLowRank(self.left.to(dtype), self.right.to(dtype))
