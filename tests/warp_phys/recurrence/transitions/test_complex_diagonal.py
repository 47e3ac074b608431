"""A complex diagonal in real numbers: the contract, and against complex arithmetic."""

import re

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from tests.warp_phys.recurrence.transitions.transition_contract import TransitionContract, normal
from warp_phys.recurrence.linear_recurrence import linear_recurrence
from warp_phys.recurrence.transitions.complex_diagonal import ComplexDiagonal
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems import UsageError


class TestComplexDiagonal(TransitionContract):
    @override
    def tensors(self, size: int, growth: float, generator: torch.Generator) -> list[Tensor]:
        pairs = size // 2
        angle = 3 * torch.rand(size - pairs, generator=generator).double()
        angle[pairs:] = 0.0
        return [growth * angle.cos(), growth * angle[:pairs].sin()]

    @override
    def build(self, size: int, tensors: list[Tensor]) -> Transition:
        return ComplexDiagonal(*tensors)


@pytest.mark.parametrize("length", [20, 300])
def test_complex_numbers_give_the_same(length: int) -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.polar(torch.full((3,), 0.99).double(), normal(generator, 3))
    B, start = (torch.complex(*normal(generator, 2, *s)) for s in ((3, 2), (4, 3)))
    inputs = normal(generator, 4, length, 2)
    states = linear_recurrence(
        ComplexDiagonal(a.real, a.imag),
        torch.cat([B.real, B.imag]),
        inputs,
        torch.cat([start.real, start.imag], dim=1),
    )
    state = start
    for t, u in enumerate(inputs.unbind(1)):
        state = a * state + u.to(B.dtype) @ B.mT
        expected = torch.cat([state.real, state.imag], dim=1)
        torch.testing.assert_close(states[:, t], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("real", "imag", "message"),
    [
        (torch.ones(2, 2), torch.ones(2), "expected real as a 1-D tensor, got (2, 2)"),
        (torch.ones(2), 1.0, "expected imag as a 1-D tensor, got float"),
        (torch.ones(1), torch.ones(2), "got 1 real and 2 imaginary"),
        (torch.ones(0), torch.ones(0), "expected at least one real part"),
    ],
)
def test_wrong_parts(real: Tensor, imag: Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        ComplexDiagonal(real, imag)
