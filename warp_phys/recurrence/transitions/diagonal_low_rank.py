"""A diagonal plus low-rank matrix A = diag(diagonal) + left right^T."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from warp_phys.recurrence.transitions.dense import Dense
from warp_phys.recurrence.transitions.transition import Start, Transition, check_shape, set_size


@dataclass(frozen=True, eq=False, repr=False)
class DiagonalPlusLowRank(Transition):
    """A = diag(diagonal) + left right^T.

    It acts on a state in O(D r) operations. Its powers have no such form and become dense.

    Attributes:
        diagonal: The diagonal part, shape (D,).
        left: The left factor, shape (D, r).
        right: The right factor, shape (D, r).

    Example:
        >>> import torch
        >>> one = torch.ones(2, 1)
        >>> DiagonalPlusLowRank(torch.tensor([0.5, 0.5]), one, one).to_dense()
        tensor([[1.5000, 1.0000],
                [1.0000, 1.5000]])
    """

    diagonal: Tensor
    left: Tensor
    right: Tensor
    name: ClassVar[str] = "low_rank"
    options: ClassVar[tuple[str, ...]] = ("rank",)

    def __post_init__(self) -> None:
        set_size(self, self.diagonal)
        rank = self.left.shape[-1] if isinstance(self.left, Tensor) and self.left.ndim else 0
        name = "DiagonalPlusLowRank"
        check_shape(name, "diagonal", self.diagonal, (self.size,))
        check_shape(name, "left", self.left, (self.size, rank))
        check_shape(name, "right", self.right, (self.size, rank))

    @classmethod
    def initial_parameters(cls, start: Start, /) -> dict[str, Tensor]:
        """Return the diagonal and the two factors."""
        diagonal = torch.full((start.size,), start.decay, dtype=start.dtype)
        return {"diagonal": diagonal} | initial_factors(start)

    @classmethod
    def from_parameters(
        cls, _start: Start, parameters: Mapping[str, Tensor], /
    ) -> DiagonalPlusLowRank:
        """Return the structure of diagonal and factors."""
        return cls(parameters["diagonal"], parameters["left"], parameters["right"])

    def apply(self, x: Tensor) -> Tensor:
        """Return A x = diagonal * x + left (right^T x) for x of shape (..., D)."""
        # Never through the (D, D) matrix: two products with (D, r) factors.
        return torch.addcmul((x @ self.right) @ self.left.mT, self.diagonal, x)

    def power(self, exponent: int, /) -> Dense:
        """Return A^exponent, which is dense."""
        return Dense(self.to_dense()).power(exponent)

    def to(self, dtype: torch.dtype, /) -> DiagonalPlusLowRank:
        """Return the same matrix with its three parts cast to a dtype."""
        return DiagonalPlusLowRank(
            self.diagonal.to(dtype), self.left.to(dtype), self.right.to(dtype)
        )

    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return diag(diagonal) + left right^T as a (D, D) tensor."""
        matrix = torch.diag(self.diagonal) + self.left @ self.right.mT
        return matrix.to(dtype or self.diagonal.dtype)


def initial_factors(start: Start) -> dict[str, Tensor]:
    """Return two factors (D, r) whose product is zero.

    One of them is zero, which leaves A = decay * I. The other is random: with both at zero the
    gradients of both would be zero, and neither would ever change.
    """
    size, rank = start.size, start.rank
    # Entries of variance 1 / D give columns of unit length on average, whatever the size.
    left = torch.randn(size, rank, generator=start.generator, dtype=start.dtype) / math.sqrt(size)
    return {"left": left, "right": torch.zeros(size, rank, dtype=start.dtype)}
