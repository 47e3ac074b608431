"""A structure of a user's own keeps the contract, by the modes that are written for any."""

import torch
from torch import Tensor
from typing_extensions import override

from tests.warp_phys.recurrence.transitions.own_structure import ScaledSwap
from tests.warp_phys.recurrence.transitions.transition_contract import TransitionContract
from warp_phys.recurrence.transitions.transition import Transition


class TestScaledSwap(TransitionContract):
    @override
    def tensors(self, size: int, growth: float, generator: torch.Generator) -> list[Tensor]:
        # Of one state, or where both lie on one entry, scale and coupling add up.
        return [
            torch.full((size,), 0.75 * growth).double(),
            torch.full((1,), 0.25 * growth).double(),
        ]

    @override
    def build(self, size: int, tensors: list[Tensor]) -> Transition:
        return ScaledSwap(*tensors)
