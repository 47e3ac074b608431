"""Where addresses say too little, PyTorch's own operations compute: transforms, autocast, views."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from warp_phys.recurrence.linear_recurrence import linear_recurrence
from warp_phys.recurrence.networks.outputs import root_outputs
from warp_phys.recurrence.transitions.complex_diagonal import ComplexDiagonal
from warp_phys.recurrence.transitions.diagonal import Diagonal
from warp_phys.recurrence.transitions.identity import Identity

SIZES = [3, 20]


def problem(size: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(size, generator=generator)
    rest = ((size, 2), (4, 6, 2), (size,))
    B, inputs, initial = (torch.randn(*shape, generator=generator) for shape in rest)
    return a, B, inputs, initial


@pytest.mark.parametrize("size", SIZES)
def test_vmap_over_transitions(size: int) -> None:
    a, *rest = problem(size)
    many = torch.stack([a, a / 2])
    found = torch.func.vmap(lambda one: linear_recurrence(one, *rest))(many)
    expected = torch.stack([linear_recurrence(one, *rest) for one in many])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_batched_gradients(size: int, dense: bool) -> None:
    a, *rest = problem(size)
    A = torch.diag(a) if dense else a

    def total(A: Tensor) -> Tensor:
        return linear_recurrence(A, *rest).sum(0)

    at_once = torch.autograd.functional.jacobian(total, A, vectorize=True)
    one_by_one = torch.autograd.functional.jacobian(total, A)
    torch.testing.assert_close(at_once, one_by_one)


@pytest.mark.parametrize("size", [3, 20, 400])
def test_autocast(size: int) -> None:
    a, _, inputs, initial = problem(size)
    generator = torch.Generator().manual_seed(1)
    inputs, B = (torch.randn(*s, generator=generator) for s in ((4, 6, 20), (size, 20)))
    expected = linear_recurrence(a, B, inputs, initial)
    half = ComplexDiagonal(a[: size - size // 2], a[: size // 2])
    with torch.autocast("cpu", torch.bfloat16):
        for A in (a, half):
            found = linear_recurrence(A, B, inputs, initial)
            assert found.isfinite().all()
        found = linear_recurrence(a, B, inputs, initial)
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_a_default_device_does_not_move_tensors() -> None:
    given = problem(3)
    with torch.device("meta"):
        states = linear_recurrence(*given)
    assert states.device.type == "cpu"


def test_lazily_negated_numbers() -> None:
    _, B, inputs, initial = problem(2)
    z = torch.tensor([0.5 + 0.7j])
    A = ComplexDiagonal(z.conj().real, z.conj().imag)
    expected = linear_recurrence(A, B, inputs, initial, "recurrent")
    torch.testing.assert_close(linear_recurrence(A, B, inputs, initial), expected)


def test_numbers_that_were_not_finite_are_no_overflow() -> None:
    a, B, inputs, initial = problem(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear_recurrence(a, B * torch.nan, inputs, initial)
        linear_recurrence(a * torch.nan, B, inputs, initial)


@pytest.mark.parametrize("structure", [Identity(10), Diagonal(torch.ones(10))], ids=repr)
def test_derivatives_through_records_of_one_sample(structure: Identity | Diagonal) -> None:
    shapes = [(3, 1), (1, 3)]
    B, initial = (torch.ones(*s, requires_grad=True) for s in ((10, 2), (2, 10)))
    rest = (torch.zeros(2, 0, 2), initial, shapes, torch.ones(2, 1, 1))
    outputs, _ = root_outputs(structure, B, *rest, 0)
    (gradient,) = torch.autograd.grad(outputs.sum(), B, create_graph=True)
    assert (gradient == 0).all()
