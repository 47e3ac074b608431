"""The base class of all structures of the transition matrix A in theta_t = A theta_{t-1} + B u_t.

A structure stores only the numbers it needs and defines the product with a state. Every mode of
`linear_recurrence` is written in terms of the methods of `Transition`, so that a user's own
structure works in all of them; `recurrence.choose` selects compiled kernels for some structures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from warp_phys.systems.errors import UsageError


@dataclass(frozen=True)
class Start:
    """How a learned transition starts: A = decay * I.

    Attributes:
        size: Width D of the state.
        decay: The multiple of the identity.
        rank: Rank of the product of two factors, where there is one.
        stable: Whether every eigenvalue is kept below 1 in modulus.
        generator: Source of random numbers; torch's own if None.
        dtype: Of the parameters; torch's default if None.
    """

    size: int
    decay: float
    rank: int = 4
    stable: bool = False
    generator: torch.Generator | None = None
    dtype: torch.dtype | None = None


class Transition(ABC):
    """A square matrix A of shape (D, D), known by its action on states.

    Attributes:
        name: The value of `structure=` that selects it; empty for one that cannot be learned.
        options: Settings of a model that its parameters depend on: "rank".
        elementwise: Whether A acts on each component alone, so that its powers are as exact as A.
        can_be_stable: Whether its parameters can keep every eigenvalue below 1 in modulus.
        starts_at_identity: Whether a learned A starts as the identity, whatever the decay.
        size: Width D of the state.
    """

    name: ClassVar[str] = ""
    options: ClassVar[tuple[str, ...]] = ()
    elementwise: ClassVar[bool] = False
    can_be_stable: ClassVar[bool] = False
    starts_at_identity: ClassVar[bool] = False
    size: int

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """Return A x for states x of shape (..., D)."""

    @abstractmethod
    def power(self, exponent: int, /) -> Transition:
        """Return A^exponent as a structure, for exponent >= 1."""

    @abstractmethod
    def to(self, dtype: torch.dtype, /) -> Transition:
        """Return the same matrix with its tensors cast to a dtype."""

    @abstractmethod
    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return A as a (D, D) tensor, of the structure's own dtype unless another is given."""

    @classmethod
    def initial_parameters(cls, _start: Start, /) -> dict[str, Tensor]:
        """Return the parameters, by name, from which a learned A = decay * I starts."""
        raise NotImplementedError(
            f"{cls.__name__} defines no initial_parameters, which layers need"
        )

    @classmethod
    def from_parameters(cls, _start: Start, _parameters: Mapping[str, Tensor], /) -> Transition:
        """Return A, differentiable in its parameters; the inverse of `initial_parameters`."""
        raise NotImplementedError(f"{cls.__name__} defines no from_parameters, which layers need")

    def step(self, x: Tensor, v: Tensor) -> Tensor:
        """Return A x + v for x and v of shape (M, D)."""
        return self.apply(x) + v

    def step_into(self, x: Tensor, v: Tensor) -> Tensor:
        """Return A x + v like `step`, where v may be overwritten."""
        return self.step(x, v)

    def orbit(self, x: Tensor, count: int) -> Tensor:
        """Return the states x, A x, ..., A^(count-1) x of x (..., D), stacked to (count, ..., D).

        By repeated application, which rounds less than doubling: each later squaring would amplify
        the rounding error of the earlier ones.
        """
        if count == 0:
            return x.new_empty((0, *x.shape))
        states = [x]
        for _ in range(count - 1):
            states.append(self.apply(states[-1]))
        return torch.stack(states)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that define A, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def isfinite(self) -> bool:
        """Return whether every defining number is finite."""
        return all(bool(value.isfinite().all()) for value in self.tensors().values())

    def __repr__(self) -> str:
        parts = [f"size={self.size}"]
        for value in list(self.tensors().values())[:1]:
            parts += [f"dtype={value.dtype}", f"device='{value.device}'"]
        return f"{type(self).__name__}({', '.join(parts)})"


def set_size(structure: Transition, leading: Tensor) -> None:
    """Read D off the first axis of the leading tensor of a frozen structure."""
    size = leading.shape[0] if isinstance(leading, Tensor) and leading.ndim else 0
    # A frozen dataclass refuses plain assignment.
    object.__setattr__(structure, "size", size)


def check_shape(structure: str, name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Raise UsageError unless a value is a non-empty tensor of the expected shape."""
    if not isinstance(value, Tensor):
        raise UsageError(f"{structure}: expected {name} to be a tensor, got {type(value).__name__}")
    if tuple(value.shape) != shape or 0 in shape:
        letters = " x ".join(str(n) if n else "at least 1" for n in shape)
        raise UsageError(
            f"{structure}: expected {name} of shape {letters}, got {tuple(value.shape)}"
        )
