"""States in the span of few directions: perceptrons evaluated without forming their weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from tests.warp_phys.recurrence.transitions.transition_contract import normal
from warp_phys.recurrence.linear_recurrence import linear_recurrence
from warp_phys.recurrence.networks import low_rank as _basis
from warp_phys.recurrence.networks.evaluate import evaluate
from warp_phys.recurrence.networks.low_rank import basis_perceptron, summed
from warp_phys.recurrence.transitions.identity import Identity
from warp_phys.recurrence.transitions.identity_low_rank import IdentityPlusLowRank

SHAPES = ((5, 2), (4, 5), (2, 4))
SIZE = 5 * 3 + 4 * 6 + 2 * 5


def example(batch: int, length: int, count: int, dtype: torch.dtype) -> list[Tensor]:
    draw = torch.Generator().manual_seed(count)
    shapes = (batch, SIZE), (SIZE, count), (batch, length, count), (batch, length, 2)
    return [(0.5 * normal(draw, *shape)).to(dtype).requires_grad_() for shape in shapes]


def formed(origin: Tensor, directions: Tensor, factors: Tensor, points: Tensor) -> Tensor:
    return evaluate(SHAPES, origin.unsqueeze(1) + factors @ directions.mT, points)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("count", [0, 1, 3, 7])
@pytest.mark.parametrize("rows", [4, 30, 1000])
def test_it_is_that_of_the_weights(
    rows: int, count: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_basis, "_ROWS", rows)
    leaves = example(3, 11, count, dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    found, expected = basis_perceptron(SHAPES, *leaves), formed(*leaves)
    assert_close(found, expected, rtol=tolerance, atol=tolerance)
    grads = [torch.autograd.grad(one.square().sum(), leaves) for one in (found, expected)]
    for one, other in zip(*grads, strict=True):
        assert_close(one, other, rtol=10 * tolerance, atol=10 * tolerance)


def test_an_origin_for_all_sequences() -> None:
    origin, directions, factors, points = example(3, 5, 2, torch.float64)
    shared = origin.detach()[0].requires_grad_()
    found = basis_perceptron(SHAPES, shared.expand(3, -1), directions, factors, points)
    expected = formed(shared.expand(3, -1), directions, factors, points)
    assert_close(found, expected)
    one, other = (torch.autograd.grad(x.square().sum(), shared)[0] for x in (found, expected))
    assert_close(one, other)


def test_derivatives_of_both_orders() -> None:
    leaves = example(2, 2, 2, torch.float64)

    def outputs(*tensors: Tensor) -> Tensor:
        return basis_perceptron(SHAPES, *tensors)

    assert gradcheck(outputs, leaves)
    assert gradgradcheck(outputs, leaves, atol=1e-4)


@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("length", [0, 1, 2, 25])
def test_the_states_are_theirs(length: int, rank: int) -> None:
    draw = torch.Generator().manual_seed(length)
    B, initial = normal(draw, SIZE, 2), normal(draw, 4, SIZE)
    inputs = normal(draw, 4, length, 2)
    left, right = 0.1 * normal(draw, 2, SIZE, max(rank, 1))
    A = IdentityPlusLowRank(left, right) if rank else Identity(SIZE)
    directions, moves = summed(A, B, inputs, initial)
    assert moves.shape == (4, length, 2 + rank)
    states = initial.unsqueeze(1) + moves.cumsum(1) @ directions.mT
    if length:
        expected = linear_recurrence(A, B, inputs, initial, "recurrent")
        scale = float(expected.abs().max())
        assert_close(states, expected, rtol=0, atol=1e-12 * scale)


def test_it_keeps_a_fraction_of_what_the_weights_take() -> None:
    leaves = example(8, 256, 2, torch.float32)
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        basis_perceptron(SHAPES, *leaves)
    assert sum(kept.values()) <= 8 * 256 * SIZE * 4 / 8
