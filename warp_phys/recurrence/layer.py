"""The linear recurrence as a trainable layer."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from warp_phys.recurrence.linear_recurrence import Mode, linear_recurrence, recurrence_step
from warp_phys.recurrence.transitions.complex_diagonal import ComplexDiagonal
from warp_phys.recurrence.transitions.identity_low_rank import IdentityPlusLowRank
from warp_phys.recurrence.transitions.transitions import (
    Dense,
    Diagonal,
    DiagonalPlusLowRank,
    Identity,
    Transition,
)
from warp_phys.systems.errors import UsageError, unknown_name

__all__ = ["STABLE_STRUCTURES", "LinearRecurrence", "StructureName"]

StructureName = Literal["identity", "identity_low_rank", "diagonal", "complex", "dense", "low_rank"]

STABLE_STRUCTURES = ("diagonal", "complex")
"""Structures whose entries can be kept within 1."""


class LinearRecurrence(nn.Module):
    r"""theta_t = A theta_{t-1} + B u_t with A and B learned.

    A starts as decay times the identity, B at zero: with decay 1, the state then stays what it was
    at the start, whatever drives it, and training departs from there.

    Args:
        size: width D of the state.
        width: width d of the inputs.
        structure: what A is. "identity" is fixed; "diagonal" learns D numbers, "complex" D of a
            complex diagonal of conjugate pairs, whose states turn as well as fade, "dense" D^2,
            "low_rank" D + 2 D rank (a diagonal plus a product of two factors), "identity_low_rank"
            the factors alone (the identity plus their product).
        rank: rank of the product, where there is one.
        stable: keep every \|a\| below 1, for "diagonal" as a = tanh(r) and for "complex" as
            a = tanh(r) exp(i phi), r and phi free.
        decay: what A starts as a multiple of the identity. By default 1, and 0.99 if `stable`,
            which cannot reach 1.
        input_scale: standard deviation of the normal numbers B starts from; 0 for zeros.
        generator: source of the random numbers (B's if `input_scale` is not 0, and the left
            factor's); torch's own if None.
        dtype: of the parameters; torch's default if None.

    Raises:
        UsageError: a width or rank is no positive whole number, the structure is unknown, or
            `stable` or `decay` do not fit it.

    References:
        Nzoyem et al., Weight-space linear recurrent neural networks, arXiv 2506.01153, eq. 1, whose
        A starts at I and whose B at 0.

    Example:
        >>> import torch
        >>> layer = LinearRecurrence(3, 2, structure="diagonal")
        >>> layer
        LinearRecurrence(size=3, width=2, structure='diagonal')
        >>> layer(torch.ones(5, 7, 2), torch.zeros(3)).shape
        torch.Size([5, 7, 3])
    """

    def __init__(
        self,
        size: int,
        width: int,
        *,
        structure: StructureName = "identity",
        rank: int = 4,
        stable: bool = False,
        decay: float | None = None,
        input_scale: float = 0.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, value in {"size": size, "width": width, "rank": rank}.items():
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"{name}: expected a positive whole number, got {value!r}")
        if structure not in get_args(StructureName):
            raise unknown_name("structure", structure, get_args(StructureName))
        self.size = size
        self.width = width
        self.structure: StructureName = structure
        self.rank = rank
        self.stable = stable
        start = _checked_decay(structure, stable, decay)
        self._add_transition(start, generator, dtype)
        drawn = torch.randn(size, width, generator=generator, dtype=dtype) if input_scale else 0.0
        self.input_matrix = nn.Parameter(
            torch.zeros(size, width, dtype=dtype) + input_scale * drawn
        )

    def _add_transition(
        self, start: float, generator: torch.Generator | None, dtype: torch.dtype | None
    ) -> None:
        """The parameters of A = start * I."""
        size, rank = self.size, self.rank
        if self.structure == "dense":
            self.matrix = nn.Parameter(start * torch.eye(size, dtype=dtype))
        if self.structure in ("diagonal", "low_rank"):
            free = math.atanh(start) if self.stable else start
            self.diagonal = nn.Parameter(torch.full((size,), free, dtype=dtype))
        if self.structure == "complex":
            free = math.atanh(start) if self.stable else start
            self.real = nn.Parameter(torch.full((size - size // 2,), free, dtype=dtype))
            self.imag = nn.Parameter(torch.zeros(size // 2, dtype=dtype))
        if self.structure in ("low_rank", "identity_low_rank"):
            # One factor at zero leaves A = start * I; the other must not be, or neither would move.
            left = torch.randn(size, rank, generator=generator, dtype=dtype) / math.sqrt(size)
            self.left = nn.Parameter(left)
            self.right = nn.Parameter(torch.zeros(size, rank, dtype=dtype))

    def transition(self) -> Transition:
        """A as it now is, differentiable in the parameters."""
        if self.structure == "identity":
            return Identity(self.size)
        if self.structure == "dense":
            return Dense(self.matrix)
        if self.structure == "diagonal":
            return Diagonal(torch.tanh(self.diagonal) if self.stable else self.diagonal)
        if self.structure == "complex":
            return self._turning()
        if self.structure == "identity_low_rank":
            return IdentityPlusLowRank(self.left, self.right)
        return DiagonalPlusLowRank(self.diagonal, self.left, self.right)

    def _turning(self) -> ComplexDiagonal:
        """A as real and imaginary parts; where it is stable, the parameters are r and phi."""
        if not self.stable:
            return ComplexDiagonal(self.real, self.imag)
        modulus = torch.tanh(self.real)
        turned, straight = modulus.tensor_split([len(self.imag)])
        real = torch.cat([turned * self.imag.cos(), straight])
        return ComplexDiagonal(real, turned * self.imag.sin())

    def forward(self, inputs: Tensor, initial: Tensor, mode: Mode = "auto") -> Tensor:
        """The states theta_1, ..., theta_T, (N, T, D).

        Args:
            inputs: u_1, ..., u_T, shape (N, T, d).
            initial: theta_0, shape (N, D), or (D,) for all sequences.
            mode: as for `linear_recurrence`.
        """
        return linear_recurrence(self.transition(), self.input_matrix, inputs, initial, mode)

    def step(self, inputs: Tensor, state: Tensor) -> Tensor:
        """The state theta_t (N, D) after one more input u_t (N, d), from theta_{t-1} (N, D)."""
        return recurrence_step(self.transition(), self.input_matrix, inputs, state)

    def extra_repr(self) -> str:
        """What the layer is made of, for its repr."""
        parts = [f"size={self.size}, width={self.width}, structure={self.structure!r}"]
        if self.structure in ("low_rank", "identity_low_rank"):
            parts.append(f"rank={self.rank}")
        if self.stable:
            parts.append("stable=True")
        return ", ".join(parts)


def _checked_decay(structure: StructureName, stable: bool, decay: float | None) -> float:
    """What A starts as a multiple of the identity."""
    if stable and structure not in STABLE_STRUCTURES:
        raise UsageError(
            f"stable: only the structures 'diagonal' and 'complex' can be kept stable, got "
            f"{structure!r}; choose one of them or leave stable out"
        )
    start = decay if decay is not None else 0.99 if stable else 1.0
    if stable and not -1.0 < start < 1.0:
        raise UsageError(
            f"decay: expected -1 < decay < 1 with stable=True, which cannot reach 1, got {decay!r}"
        )
    if structure in ("identity", "identity_low_rank") and start != 1.0:
        raise UsageError(
            f"decay: the structure {structure!r} is fixed at 1, got {decay!r}; "
            "choose 'diagonal' for a state that decays"
        )
    return start
