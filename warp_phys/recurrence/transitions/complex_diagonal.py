"""A complex diagonal A of conjugate pairs, stored as real numbers: states rotate and decay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from warp_phys.recurrence.transitions.transition import Start, Transition
from warp_phys.systems.errors import UsageError


@dataclass(frozen=True, eq=False, repr=False)
class ComplexDiagonal(Transition):
    r"""A complex diagonal of conjugate pairs and real entries, as a real matrix.

    Entry j is real_j + i imag_j for j < q, with its conjugate, and real_j for q <= j < p. With
    the state x = (Re z_1, ..., Re z_p, Im z_1, ..., Im z_q) of p + q = D real numbers,

        Re z_j' = real_j Re z_j - imag_j Im z_j,    Im z_j' = imag_j Re z_j + real_j Im z_j.

    Learned with `stable=True` as tanh(r) exp(i phi), r and phi free, so that no modulus reaches 1
    while the phase is free to turn.

    Attributes:
        real: The real parts, shape (p,).
        imag: The imaginary parts of the first q <= p, shape (q,).

    Example:
        >>> import torch
        >>> quarter_turn = ComplexDiagonal(torch.tensor([0.0]), torch.tensor([1.0]))
        >>> quarter_turn.apply(torch.tensor([1.0, 0.0]))
        tensor([0., 1.])
    """

    real: Tensor
    imag: Tensor
    name: ClassVar[str] = "complex"
    can_be_stable: ClassVar[bool] = True

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

    @classmethod
    def initial_parameters(cls, start: Start, /) -> dict[str, Tensor]:
        """Return the moduli, or atanh of them where they are kept stable, and phases of zero."""
        free = math.atanh(start.decay) if start.stable else start.decay
        pairs = start.size // 2
        return {
            "real": torch.full((start.size - pairs,), free, dtype=start.dtype),
            "imag": torch.zeros(pairs, dtype=start.dtype),
        }

    @classmethod
    def from_parameters(cls, start: Start, parameters: Mapping[str, Tensor], /) -> ComplexDiagonal:
        """Return A; where it is kept stable, the parameters are r and phi."""
        real, imag = parameters["real"], parameters["imag"]
        if not start.stable:
            return cls(real, imag)
        paired, straight = torch.tanh(real).tensor_split([len(imag)])
        # tanh(r) (cos phi + i sin phi): the modulus is below 1 and phi is unconstrained. An entry
        # without a partner is tanh(r).
        return cls(torch.cat([paired * imag.cos(), straight]), paired * imag.sin())

    def apply(self, x: Tensor) -> Tensor:
        """Return A x for x of shape (..., D)."""
        entries, pairs = len(self.real), len(self.imag)
        real, imag = x[..., :entries], x[..., entries:]
        # (a + i b)(x + i y): the imaginary part is a y + b x, the real part a x - b y.
        turned = torch.addcmul(self.real[:pairs] * imag, self.imag, real[..., :pairs])
        kept = self.real * real
        paired = torch.addcmul(kept[..., :pairs], self.imag, imag, value=-1)
        return torch.cat([paired, kept[..., pairs:], turned], dim=-1)

    def power(self, exponent: int, /) -> ComplexDiagonal:
        """Return A^exponent by repeated squaring, which is differentiable at zero, unlike `pow`."""
        pairs = len(self.imag)
        # Unpaired entries have an imaginary part of zero.
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
        """Return the same matrix with its parts cast to a dtype."""
        return ComplexDiagonal(self.real.to(dtype), self.imag.to(dtype))

    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return A as a (D, D) tensor."""
        entries, pairs = len(self.real), len(self.imag)
        # Real parts on the diagonal; -imag couples Im to Re above it, and +imag Re to Im below it.
        real = torch.diag(torch.cat([self.real, self.real[:pairs]]))
        turn = torch.diag_embed(self.imag, offset=entries)[: self.size, : self.size]
        matrix = real + turn.mT - turn
        return matrix.to(dtype or self.real.dtype)
