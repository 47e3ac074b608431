"""Decoding in tiles of time: the same numbers, without ever holding all states."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from tests.warp_phys.recurrence.transitions.transition_contract import normal
from warp_phys.recurrence.linear_recurrence import linear_recurrence
from warp_phys.recurrence.networks.tiles import decode_states
from warp_phys.recurrence.transitions.dense import Dense
from warp_phys.recurrence.transitions.diagonal import Diagonal
from warp_phys.recurrence.transitions.identity import Identity
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems.errors import UsageError


def tensors(batch: int, length: int, size: int, width: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(length)
    values = 1 - 0.3 * torch.rand(size, generator=draw).double()
    shapes = (size, width), (batch, length, width), (batch, size)
    others = [normal(draw, *shape) for shape in shapes]
    return [value.requires_grad_() for value in (values, *others)]


def squares(states: Tensor, start: int, stop: int) -> tuple[Tensor, Tensor]:
    assert states.shape[1] == stop - start
    times = torch.arange(start, stop).to(states)
    return (states * states.roll(1, -1)).sum(-1), states.sum(-1) * times


BUILD: dict[str, Callable[[Tensor], Transition]] = {
    "diagonal": Diagonal,
    "dense": lambda values: Dense(torch.diag(values)),
    "identity": lambda values: Identity(len(values)),
}


@pytest.mark.parametrize("tile", [1, 7, 30, 64, None])
@pytest.mark.parametrize("structure", BUILD)
def test_tiles_change_nothing(structure: str, tile: int | None) -> None:
    values, B, inputs, initial = leaves = tensors(3, 30, 20, 2)
    A = BUILD[structure](values)
    found = decode_states(A, B, inputs, initial, squares, tile=tile)
    expected = squares(linear_recurrence(A, B, inputs, initial), 0, 30)
    for one, other in zip(found, expected, strict=True):
        if structure == "diagonal":
            assert torch.equal(one, other)
        assert_close(one, other, rtol=1e-12, atol=1e-12)
    weights = torch.linspace(-1, 1, 30).double()
    grads = [
        torch.autograd.grad(((a + b) * weights).sum(), leaves, allow_unused=True)
        for a, b in (found, expected)
    ]
    for one, other in zip(*grads, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            scale = float(other.abs().max())
            assert_close(one, other, rtol=0, atol=1e-13 * scale)


def test_derivatives_of_both_orders() -> None:
    leaves = tensors(2, 5, 2, 1)

    def decoded(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> tuple[Tensor, ...]:
        return decode_states(values, B, inputs, initial, squares, tile=2)

    assert gradcheck(decoded, leaves)
    assert gradgradcheck(decoded, leaves)


def test_one_start_for_all_sequences_and_no_gradients() -> None:
    values, B, inputs, _ = tensors(3, 10, 4, 2)
    start = torch.ones(4, dtype=torch.float64)
    with torch.no_grad():
        found, _ = decode_states(values, B, inputs, start, squares, tile=3)
        expected, _ = squares(linear_recurrence(values, B, inputs, start), 0, 10)
    assert torch.equal(found, expected)


class Alive(TorchDispatchMode):
    """Watches the size of the largest tensors that operations make, and how much is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor):
                self.largest = max(self.largest, value.untyped_storage().nbytes())
        return result


def test_no_more_than_a_tile_is_ever_held() -> None:
    leaves = tensors(4, 256, 500, 2)
    every = 4 * 256 * 500 * 8
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with Alive() as alive:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            found, _ = decode_states(*leaves, squares, tile=8)
        found.sum().backward()
    assert alive.largest <= every // 8
    gc.collect()
    assert sum(kept.values()) <= every // 4


@pytest.mark.parametrize("tile", [0, -1, 2.0])
def test_a_tile_is_a_positive_number_of_steps(tile: int) -> None:
    leaves = tensors(1, 4, 3, 2)
    with pytest.raises(UsageError, match="tile: expected a positive whole number of steps"):
        decode_states(*leaves, squares, tile=tile)


def test_there_must_be_something_to_decode() -> None:
    values, B, inputs, initial = tensors(1, 4, 3, 2)
    with pytest.raises(UsageError, match="expected at least one step"):
        decode_states(values, B, inputs[:, :0], initial, squares)
