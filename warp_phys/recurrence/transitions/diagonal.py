"""A diagonal matrix A: every state decays or grows at its own rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from warp_phys.recurrence.transitions.transition import Start, Transition, check_shape, set_size


@dataclass(frozen=True, eq=False, repr=False)
class Diagonal(Transition):
    """A = diag(values).

    With `stable=True` it is learned as values = tanh(r), r free, so that no modulus reaches 1.

    Attributes:
        values: The diagonal, shape (D,).

    Example:
        >>> import torch
        >>> Diagonal(torch.tensor([0.5, 2.0])).apply(torch.ones(2))
        tensor([0.5000, 2.0000])
    """

    values: Tensor
    name: ClassVar[str] = "diagonal"
    elementwise: ClassVar[bool] = True
    can_be_stable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_size(self, self.values)
        check_shape("Diagonal", "values", self.values, (self.size,))

    @classmethod
    def initial_parameters(cls, start: Start, /) -> dict[str, Tensor]:
        """Return the values, or atanh of them where they are kept stable."""
        # The inverse of the tanh below, so that A starts at exactly the decay.
        free = math.atanh(start.decay) if start.stable else start.decay
        return {"diagonal": torch.full((start.size,), free, dtype=start.dtype)}

    @classmethod
    def from_parameters(cls, start: Start, parameters: Mapping[str, Tensor], /) -> Diagonal:
        """Return diag(values), or diag(tanh(values)) where it is kept stable."""
        free = parameters["diagonal"]
        return cls(torch.tanh(free) if start.stable else free)

    def apply(self, x: Tensor) -> Tensor:
        """Return A x = values * x for x of shape (..., D)."""
        return self.values * x

    def step(self, x: Tensor, v: Tensor) -> Tensor:
        """Return A x + v in one pass over memory."""
        return torch.addcmul(v, self.values, x)

    def step_into(self, x: Tensor, v: Tensor) -> Tensor:
        """Return A x + v in place of v: a new array costs more than the arithmetic."""
        return v.addcmul_(self.values, x)

    def power(self, exponent: int, /) -> Diagonal:
        """Return diag(values^exponent), each rounded once."""
        return Diagonal(self.values**exponent)

    def orbit(self, x: Tensor, count: int) -> Tensor:
        """Return the states x, A x, ..., A^(count-1) x, from powers that are each rounded once."""
        exponents = torch.arange(1, max(count, 1), dtype=x.dtype, device=x.device)
        # values^0 is set, not computed: the second derivative of pow at 0^0 is not a number.
        powers = torch.cat([torch.ones_like(self.values)[None], self.values ** exponents[:, None]])
        return powers[:count].view(count, *[1] * (x.ndim - 1), self.size) * x

    def to(self, dtype: torch.dtype, /) -> Diagonal:
        """Return the same diagonal cast to a dtype."""
        return Diagonal(self.values.to(dtype))

    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return diag(values) as a (D, D) tensor."""
        return torch.diag(self.values).to(dtype or self.values.dtype)
