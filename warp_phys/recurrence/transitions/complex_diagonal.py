"""Transitions that turn: a diagonal A of conjugate pairs, kept in real numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.recurrence.transitions.transitions import Transition
from warp_phys.systems.errors import UsageError


@dataclass(frozen=True, eq=False, repr=False)
class ComplexDiagonal(Transition):
    r"""A complex diagonal of conjugate pairs and real entries, as a real matrix.

    Entry j is real_j + i imag_j for j < q, beside its conjugate, and real_j for q <= j < p. With
    the state x = (Re z_1, ..., Re z_p, Im z_1, ..., Im z_q) of p + q = D real numbers,

        Re z_j' = real_j Re z_j - imag_j Im z_j,    Im z_j' = imag_j Re z_j + real_j Im z_j.

    Attributes:
        real: the real parts, shape (p,).
        imag: the imaginary parts of the first q <= p, shape (q,).
    """

    real: Tensor
    imag: Tensor

    def __post_init__(self) -> None:
        for name, value in {"real": self.real, "imag": self.imag}.items():
            if not isinstance(value, Tensor) or value.ndim != 1:
                got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise UsageError(f"ComplexDiagonal: expected {name} as a 1-D tensor, got {got}")
        if not len(self.imag) <= len(self.real) or not len(self.real):
            raise UsageError(
                "ComplexDiagonal: expected at least one real part and no more imaginary than real "
                f"parts, got {len(self.real)} real and {len(self.imag)} imaginary"
            )
        object.__setattr__(self, "size", len(self.real) + len(self.imag))

    def apply(self, x: Tensor) -> Tensor:
        """A x for x of shape (..., D)."""
        entries, pairs = len(self.real), len(self.imag)
        real, imag = x[..., :entries], x[..., entries:]
        turned = torch.addcmul(self.real[:pairs] * imag, self.imag, real[..., :pairs])
        kept = self.real * real
        paired = torch.addcmul(kept[..., :pairs], self.imag, imag, value=-1)
        return torch.cat([paired, kept[..., pairs:], turned], dim=-1)

    def power(self, exponent: int, /) -> ComplexDiagonal:
        """A^exponent by repeated squaring, whose derivative exists at zero, too."""
        pairs = len(self.imag)
        square = torch.complex(
            self.real, torch.cat([self.imag, self.real.new_zeros(len(self.real) - pairs)])
        )
        result = torch.ones_like(square)
        while exponent:
            if exponent & 1:
                result = result * square
            exponent >>= 1
            if exponent:
                square = square * square
        return ComplexDiagonal(result.real, result.imag[:pairs])

    def to(self, dtype: torch.dtype, /) -> ComplexDiagonal:
        """The same matrix with its parts cast to a dtype."""
        return ComplexDiagonal(self.real.to(dtype), self.imag.to(dtype))

    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """A as a (D, D) tensor."""
        entries, pairs = len(self.real), len(self.imag)
        real = torch.diag(torch.cat([self.real, self.real[:pairs]]))
        turn = torch.diag_embed(self.imag, offset=entries)[: self.size, : self.size]
        matrix = real + turn.mT - turn
        return matrix.to(dtype or self.real.dtype)
