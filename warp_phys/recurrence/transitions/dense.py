"""A dense matrix A, which couples every state to every other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from warp_phys.recurrence.transitions.transition import Start, Transition, check_shape, set_size


@dataclass(frozen=True, eq=False, repr=False)
class Dense(Transition):
    """A = matrix, any (D, D) numbers.

    Attributes:
        matrix: A itself, shape (D, D).

    Example:
        >>> import torch
        >>> Dense(torch.tensor([[0.0, 1.0], [-1.0, 0.0]])).apply(torch.tensor([1.0, 2.0]))
        tensor([ 2., -1.])
    """

    matrix: Tensor
    name: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        set_size(self, self.matrix)
        check_shape("Dense", "matrix", self.matrix, (self.size, self.size))

    @classmethod
    def initial_parameters(cls, start: Start, /) -> dict[str, Tensor]:
        """Return decay * I."""
        return {"matrix": start.decay * torch.eye(start.size, dtype=start.dtype)}

    @classmethod
    def from_parameters(cls, _start: Start, parameters: Mapping[str, Tensor], /) -> Dense:
        """Return the matrix as a structure."""
        return cls(parameters["matrix"])

    def apply(self, x: Tensor) -> Tensor:
        """Return A x for x of shape (..., D)."""
        return x @ self.matrix.mT

    def step(self, x: Tensor, v: Tensor) -> Tensor:
        """Return A x + v in one pass over memory."""
        return torch.addmm(v, x, self.matrix.mT)

    def power(self, exponent: int, /) -> Dense:
        """Return matrix^exponent by repeated squaring."""
        return Dense(torch.linalg.matrix_power(self.matrix, exponent))

    def to(self, dtype: torch.dtype, /) -> Dense:
        """Return the same matrix cast to a dtype."""
        return Dense(self.matrix.to(dtype))

    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return the matrix itself, (D, D)."""
        return self.matrix.to(dtype or self.matrix.dtype)
