"""Structures of the transition matrix A in theta_t = A theta_{t-1} + B u_t.

Each structure stores only what it needs and knows how to act on a state; the recurrence itself
uses nothing but the methods of `Transition`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from warp_phys.systems.errors import UsageError

__all__ = [
    "Dense",
    "Diagonal",
    "DiagonalPlusLowRank",
    "Identity",
    "Transition",
    "as_transition",
]


class Transition(ABC):
    """A square matrix A of shape (D, D), known by its action on states.

    Attributes:
        size: the width D of the state.
        elementwise: whether A acts on each component alone. Its powers are then as exact as A.
    """

    size: int
    elementwise: ClassVar[bool] = False

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """A x for states x of shape (..., D)."""

    @abstractmethod
    def power(self, exponent: int, /) -> Transition:
        """A^exponent as a structure, for exponent >= 1."""

    @abstractmethod
    def to(self, dtype: torch.dtype, /) -> Transition:
        """The same matrix with its tensors cast to a dtype."""

    @abstractmethod
    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """A as a (D, D) tensor, of the structure's own dtype unless another is given."""

    def step(self, x: Tensor, v: Tensor) -> Tensor:
        """A x + v for x and v of shape (M, D)."""
        return self.apply(x) + v

    def orbit(self, x: Tensor, count: int) -> Tensor:
        """The states x, A x, ..., A^(count-1) x of x (..., D), stacked to (count, ..., D).

        By repeated application, which rounds less than doubling: there every later squaring
        amplifies the rounding of the earlier ones.
        """
        if count == 0:
            return x.new_empty((0, *x.shape))
        states = [x]
        for _ in range(count - 1):
            states.append(self.apply(states[-1]))
        return torch.stack(states)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that define A, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def isfinite(self) -> bool:
        """Whether every defining number is finite."""
        return all(bool(value.isfinite().all()) for value in self.tensors().values())

    def __repr__(self) -> str:
        parts = [f"size={self.size}"]
        for value in list(self.tensors().values())[:1]:
            parts += [f"dtype={value.dtype}", f"device='{value.device}'"]
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True, eq=False, repr=False)
class Identity(Transition):
    """A = I: the state adds up what drives it.

    Attributes:
        size: the width D of the state.
    """

    size: int
    elementwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 1:
            raise UsageError(f"Identity: expected a size of at least 1, got {self.size!r}")

    def apply(self, x: Tensor) -> Tensor:
        """X itself."""
        return x

    def power(self, _exponent: int, /) -> Identity:
        """I again."""
        return self

    def to(self, _dtype: torch.dtype, /) -> Identity:
        """I again: it has no numbers of its own."""
        return self

    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """The identity matrix (D, D), of torch's default dtype unless another is given."""
        return torch.eye(self.size, dtype=dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Diagonal(Transition):
    """A = diag(values).

    Attributes:
        values: the diagonal, shape (D,).
    """

    values: Tensor
    elementwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _set_size(self, self.values)
        _check_shape("Diagonal", "values", self.values, (self.size,))

    def apply(self, x: Tensor) -> Tensor:
        """A x = values * x for x of shape (..., D)."""
        return self.values * x

    def step(self, x: Tensor, v: Tensor) -> Tensor:
        """A x + v in one pass."""
        return torch.addcmul(v, self.values, x)

    def power(self, exponent: int, /) -> Diagonal:
        """diag(values^exponent), each rounded once."""
        return Diagonal(self.values**exponent)

    def orbit(self, x: Tensor, count: int) -> Tensor:
        """The states x, A x, ..., A^(count-1) x, from powers that are each rounded once."""
        exponents = torch.arange(1, max(count, 1), dtype=x.dtype, device=x.device)
        # values^0 is set, not computed: the second derivative of pow at 0^0 is not a number.
        powers = torch.cat([torch.ones_like(self.values)[None], self.values ** exponents[:, None]])
        return powers[:count].view(count, *[1] * (x.ndim - 1), self.size) * x

    def to(self, dtype: torch.dtype, /) -> Diagonal:
        """The same diagonal cast to a dtype."""
        return Diagonal(self.values.to(dtype))

    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """diag(values) as a (D, D) tensor."""
        return torch.diag(self.values).to(dtype or self.values.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Dense(Transition):
    """A = matrix.

    Attributes:
        matrix: A itself, shape (D, D).
    """

    matrix: Tensor

    def __post_init__(self) -> None:
        _set_size(self, self.matrix)
        _check_shape("Dense", "matrix", self.matrix, (self.size, self.size))

    def apply(self, x: Tensor) -> Tensor:
        """A x for x of shape (..., D)."""
        return x @ self.matrix.mT

    def step(self, x: Tensor, v: Tensor) -> Tensor:
        """A x + v in one pass."""
        return torch.addmm(v, x, self.matrix.mT)

    def power(self, exponent: int, /) -> Dense:
        """matrix^exponent by repeated squaring."""
        return Dense(torch.linalg.matrix_power(self.matrix, exponent))

    def to(self, dtype: torch.dtype, /) -> Dense:
        """The same matrix cast to a dtype."""
        return Dense(self.matrix.to(dtype))

    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """The matrix itself, (D, D)."""
        return self.matrix.to(dtype or self.matrix.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class DiagonalPlusLowRank(Transition):
    """A = diag(diagonal) + left right^T.

    It acts on a state in O(D r) operations. Its powers have no such form and become dense.

    Attributes:
        diagonal: the diagonal part, shape (D,).
        left: the left factor, shape (D, r).
        right: the right factor, shape (D, r).
    """

    diagonal: Tensor
    left: Tensor
    right: Tensor

    def __post_init__(self) -> None:
        _set_size(self, self.diagonal)
        rank = self.left.shape[-1] if isinstance(self.left, Tensor) and self.left.ndim else 0
        name = "DiagonalPlusLowRank"
        _check_shape(name, "diagonal", self.diagonal, (self.size,))
        _check_shape(name, "left", self.left, (self.size, rank))
        _check_shape(name, "right", self.right, (self.size, rank))

    def apply(self, x: Tensor) -> Tensor:
        """A x = diagonal * x + left (right^T x) for x of shape (..., D)."""
        return torch.addcmul((x @ self.right) @ self.left.mT, self.diagonal, x)

    def power(self, exponent: int, /) -> Dense:
        """A^exponent, dense."""
        return Dense(self.to_dense()).power(exponent)

    def to(self, dtype: torch.dtype, /) -> DiagonalPlusLowRank:
        """The same matrix with its three parts cast to a dtype."""
        return DiagonalPlusLowRank(
            self.diagonal.to(dtype), self.left.to(dtype), self.right.to(dtype)
        )

    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """diag(diagonal) + left right^T as a (D, D) tensor."""
        matrix = torch.diag(self.diagonal) + self.left @ self.right.mT
        return matrix.to(dtype or self.diagonal.dtype)


def as_transition(A: Tensor | Transition, size: int) -> Transition:
    """A structure from what a caller gives for A.

    Args:
        A: a structure, a diagonal of shape (D,) or a matrix of shape (D, D).
        size: the width D of the state.

    Returns:
        The structure of that size: `Diagonal` for (D,), `Dense` for (D, D).

    Raises:
        UsageError: A is neither, or not of this size.

    Example:
        >>> import torch
        >>> as_transition(torch.ones(3), 3)
        Diagonal(size=3, dtype=torch.float32, device='cpu')
    """
    expected = f"A: expected a transition structure, a ({size},) or a ({size}, {size}) tensor"
    if isinstance(A, Tensor) and A.ndim in (1, 2) and all(n == size for n in A.shape):
        return Diagonal(A) if A.ndim == 1 else Dense(A)
    if isinstance(A, Tensor):
        raise UsageError(f"{expected} for a state of width {size}, got shape {tuple(A.shape)}")
    if not isinstance(A, Transition):
        raise UsageError(f"{expected}, got {type(A).__name__}")
    if A.size != size:
        raise UsageError(f"{expected} for a state of width {size}, got {A!r}")
    return A


def _set_size(structure: Transition, leading: Tensor) -> None:
    """Read D off the first axis of the leading tensor (frozen, hence through object)."""
    size = leading.shape[0] if isinstance(leading, Tensor) and leading.ndim else 0
    object.__setattr__(structure, "size", size)


def _check_shape(structure: str, name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse what is no tensor of the expected shape, and empty ones."""
    if not isinstance(value, Tensor):
        raise UsageError(f"{structure}: expected {name} to be a tensor, got {type(value).__name__}")
    if tuple(value.shape) != shape or 0 in shape:
        letters = " x ".join(str(n) if n else "at least 1" for n in shape)
        raise UsageError(
            f"{structure}: expected {name} of shape {letters}, got {tuple(value.shape)}"
        )
