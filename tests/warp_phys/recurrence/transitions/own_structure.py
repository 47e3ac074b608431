"""A structure of A as a user writes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from warp_phys.recurrence.transitions.dense import Dense
from warp_phys.recurrence.transitions.transition import Start, Transition


@dataclass(frozen=True, eq=False, repr=False)
class ScaledSwap(Transition):
    """A = diag(scales) + coupling P, where P reverses the order of the states."""

    scales: Tensor
    coupling: Tensor
    name: ClassVar[str] = "my_scaled_swap"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", len(self.scales))

    @classmethod
    @override
    def initial_parameters(cls, start: Start, /) -> dict[str, Tensor]:
        return {
            "scales": torch.full((start.size,), start.decay, dtype=start.dtype),
            "coupling": torch.zeros(1, dtype=start.dtype),
        }

    @classmethod
    @override
    def from_parameters(cls, _start: Start, parameters: Mapping[str, Tensor], /) -> "ScaledSwap":
        return cls(parameters["scales"], parameters["coupling"])

    @override
    def apply(self, x: Tensor) -> Tensor:
        return self.scales * x + self.coupling * x.flip(-1)

    @override
    def power(self, exponent: int, /) -> Transition:
        return Dense(self.to_dense()).power(exponent)

    @override
    def to(self, dtype: torch.dtype, /) -> Transition:
        return ScaledSwap(self.scales.to(dtype), self.coupling.to(dtype))

    @override
    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        swap = torch.eye(self.size, dtype=self.scales.dtype).flip(0)
        return (torch.diag(self.scales) + self.coupling * swap).to(dtype or self.scales.dtype)
