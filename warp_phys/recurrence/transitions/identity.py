"""The identity A = I, with which the recurrence is a cumulative sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from warp_phys.recurrence.transitions.transition import Start, Transition
from warp_phys.systems.errors import UsageError


@dataclass(frozen=True, eq=False, repr=False)
class Identity(Transition):
    """A = I: the state is theta_0 plus the cumulative sum of B u_t.

    Attributes:
        size: Width D of the state.

    Example:
        >>> import torch
        >>> Identity(2).apply(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """

    size: int
    name: ClassVar[str] = "identity"
    elementwise: ClassVar[bool] = True
    starts_at_identity: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 1:
            raise UsageError(f"Identity: expected a size of at least 1, got {self.size!r}")

    @classmethod
    def initial_parameters(cls, _start: Start, /) -> dict[str, Tensor]:
        """Return no parameters: A is fixed."""
        return {}

    @classmethod
    def from_parameters(cls, start: Start, _parameters: Mapping[str, Tensor], /) -> Identity:
        """Return the identity of a size."""
        return cls(start.size)

    def apply(self, x: Tensor) -> Tensor:
        """Return x itself."""
        return x

    def power(self, _exponent: int, /) -> Identity:
        """Return the identity again."""
        return self

    def to(self, _dtype: torch.dtype, /) -> Identity:
        """Return the identity again: it has no numbers of its own."""
        return self

    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return the identity matrix (D, D), of torch's default dtype unless another is given."""
        return torch.eye(self.size, dtype=dtype)
