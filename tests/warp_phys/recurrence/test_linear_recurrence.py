"""The recurrence: every structure and mode against extended precision; messages."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor
from typing_extensions import override

from tests.warp_phys.recurrence.extended_precision import rounding
from tests.warp_phys.recurrence.transitions.transition_contract import (
    MODES,
    TransitionContract,
    normal,
)
from warp_phys.recurrence.checks import as_transition
from warp_phys.recurrence.linear_recurrence import Mode, linear_recurrence, recurrence_step
from warp_phys.recurrence.transitions.dense import Dense
from warp_phys.recurrence.transitions.diagonal import Diagonal
from warp_phys.recurrence.transitions.diagonal_low_rank import DiagonalPlusLowRank
from warp_phys.recurrence.transitions.identity import Identity
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems import UsageError


class TestIdentity(TransitionContract):
    @override
    def tensors(self, size: int, growth: float, generator: torch.Generator) -> list[Tensor]:
        return []

    @override
    def build(self, size: int, tensors: list[Tensor]) -> Transition:
        return Identity(size)

    def test_closed_form(self) -> None:
        generator = torch.Generator().manual_seed(0)
        B, inputs, initial = (normal(generator, *s) for s in ((3, 2), (4, 9, 2), (4, 3)))
        states = linear_recurrence(Identity(3), B, inputs, initial)
        torch.testing.assert_close(states[:, 5], initial + inputs[:, :6].sum(1) @ B.mT)

    def test_differences_add_up_over_a_million_steps_in_float32(self) -> None:
        series = torch.randn(1, 1_000_001, 1, generator=torch.Generator().manual_seed(0))
        drive = series.diff(dim=1)
        states = linear_recurrence(Identity(1), torch.ones(1, 1), drive, torch.zeros(1))
        exact = drive.double().cumsum(1)
        assert (states - exact).abs().max() <= 2e-7 * exact.abs().max()


class TestDiagonal(TransitionContract):
    @override
    def tensors(self, size: int, growth: float, generator: torch.Generator) -> list[Tensor]:
        signs = torch.where(normal(generator, size) > 0, 1.0, -1.0).double()
        return [signs * growth * (1 - 0.1 * torch.rand(size, generator=generator).double())]

    @override
    def build(self, size: int, tensors: list[Tensor]) -> Transition:
        return Diagonal(*tensors)

    @pytest.mark.parametrize("mode", MODES)
    def test_gradients_where_a_is_zero(self, mode: Mode) -> None:
        generator = torch.Generator().manual_seed(0)
        a = torch.tensor([0.0, 0.5], dtype=torch.float64, requires_grad=True)
        others = [normal(generator, *s).requires_grad_() for s in ((2, 1), (1, 20, 1), (1, 2))]

        def states(*values: Tensor) -> Tensor:
            return linear_recurrence(*values, mode)

        assert torch.autograd.gradcheck(states, (a, *others))
        assert torch.autograd.gradgradcheck(states, (a, *others), fast_mode=True)

    @pytest.mark.parametrize("mode", MODES)
    def test_components_of_unlike_size_do_not_mix(self, mode: Mode) -> None:
        generator = torch.Generator().manual_seed(1)
        a = torch.tensor([1.2, 0.3], dtype=torch.float64)
        inputs = normal(generator, 2, 300, 2)
        B, initial = torch.eye(2, dtype=torch.float64), normal(generator, 2, 2)
        states = linear_recurrence(a, B, inputs, initial, mode)
        assert rounding(states, torch.diag(a), B, inputs, initial, [1, 150, 300]) < 10


class TestDense(TransitionContract):
    @override
    def tensors(self, size: int, growth: float, generator: torch.Generator) -> list[Tensor]:
        matrix = normal(generator, size, size)
        return [growth * matrix / torch.linalg.eigvals(matrix).abs().max()]

    @override
    def build(self, size: int, tensors: list[Tensor]) -> Transition:
        return Dense(*tensors)


class TestDiagonalPlusLowRank(TransitionContract):
    @override
    def tensors(self, size: int, growth: float, generator: torch.Generator) -> list[Tensor]:
        diagonal = 0.5 * torch.rand(size, generator=generator).double() + 0.5
        left, right = 0.3 * normal(generator, 2, size, 2)
        dense = torch.diag(diagonal) + left @ right.mT
        radius = torch.linalg.eigvals(dense).abs().max()
        return [growth * diagonal / radius, growth * left / radius, right]

    @override
    def build(self, size: int, tensors: list[Tensor]) -> Transition:
        return DiagonalPlusLowRank(*tensors)

    def test_rank_one_of_a_single_state(self) -> None:
        one = torch.ones(1, 1)
        assert DiagonalPlusLowRank(torch.ones(1), one, 2 * one).to_dense().item() == 3.0


def non_normal(kind: str) -> Tensor:
    """Matrices whose powers first grow, or cancel, before they settle."""
    generator = torch.Generator().manual_seed(11)
    rotation, _ = torch.linalg.qr(normal(generator, 6, 6))
    upper = torch.triu(normal(generator, 6, 6), 1)
    fading = torch.diag(torch.linspace(-0.9, 0.95, 6, dtype=torch.float64))
    eye = torch.eye(6, dtype=torch.float64)
    shift = torch.diag(torch.ones(5, dtype=torch.float64), 1)
    return {
        "upper triangular": 100 * upper + fading,
        "growing": 10 * upper + 1.1 * fading,
        "nilpotent": 1000 * upper,
        "Jordan block": eye + shift,
        "turned": rotation @ (upper + fading) @ rotation.mT,
        "turned Jordan block": rotation @ (0.9 * eye + shift) @ rotation.mT,
        "cancelling": torch.kron(
            torch.eye(3, dtype=torch.float64),
            torch.tensor([[0.9, 1e4], [0.0, -0.9]], dtype=torch.float64),
        ),
    }[kind]


NON_NORMAL = [
    "upper triangular",
    "growing",
    "nilpotent",
    "Jordan block",
    "turned",
    "turned Jordan block",
    "cancelling",
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", NON_NORMAL)
def test_non_normal(kind: str, mode: Mode) -> None:
    A = non_normal(kind)
    generator = torch.Generator().manual_seed(12)
    B, inputs, initial = (normal(generator, *s) for s in ((6, 2), (2, 400, 2), (2, 6)))
    states = linear_recurrence(A, B, inputs, initial, mode)
    # In a turned basis the powers lose the digits by which they cancel, in any float64 evaluation.
    allowed = 1e4 if kind == "turned Jordan block" else 100
    assert rounding(states, A, B, inputs, initial, [1, 2, 17, 100, 400]) < allowed


@pytest.mark.parametrize("mode", ["convolutional", "scan"])
@pytest.mark.parametrize("kind", NON_NORMAL)
def test_gradients_of_non_normal(kind: str, mode: Mode) -> None:
    generator = torch.Generator().manual_seed(12)
    others = [normal(generator, *s) for s in ((6, 2), (2, 400, 2), (2, 6))]
    leaves = [value.requires_grad_() for value in [non_normal(kind), *others]]
    weights = normal(generator, 2, 400, 6)

    def gradients(mode: Mode) -> tuple[Tensor, ...]:
        return torch.autograd.grad((weights * linear_recurrence(*leaves, mode)).sum(), leaves)

    for found, expected in zip(gradients(mode), gradients("recurrent"), strict=True):
        assert (found - expected).abs().max() < 1e-9 * expected.abs().max()


@pytest.mark.parametrize("seed", [3, 8, 9])
def test_scan_of_a_growing_matrix_rounds_no_more_than_the_recurrence(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    (A,) = TestDense().tensors(2, 1.02, generator)
    B, inputs, initial = (normal(generator, *s) for s in ((2, 1), (1, 1000, 1), (2,)))
    states = linear_recurrence(A, B, inputs, initial, "scan")
    assert rounding(states, A, B, inputs, initial, [250, 500, 1000]) < 15


def test_scan_of_a_matrix_with_inexact_powers_is_the_recurrence() -> None:
    generator = torch.Generator().manual_seed(13)
    rotation, _ = torch.linalg.qr(normal(generator, 8, 8))
    block = 0.9 * torch.eye(8, dtype=torch.float64) + torch.diag(normal(generator, 7).abs() + 2, 1)
    A = rotation @ block @ rotation.mT
    B, inputs, initial = (normal(generator, *s) for s in ((8, 1), (1, 600, 1), (8,)))
    exact = linear_recurrence(A, B, inputs, initial, "recurrent")
    torch.testing.assert_close(linear_recurrence(A, B, inputs, initial, "scan"), exact)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("structure", ["diagonal", "dense"])
def test_overflowing_powers_leave_a_resting_state_alone(mode: Mode, structure: str) -> None:
    a = torch.tensor([50.0, 1e25], dtype=torch.float64)
    A = a if structure == "diagonal" else torch.diag(a)
    inputs = torch.zeros(1, 400, 1, dtype=torch.float64)
    inputs[0, -2] = 1.0
    B, initial = torch.ones(2, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    states = linear_recurrence(A, B, inputs, initial, mode)
    assert (states[0, :-2] == 0).all()
    np.testing.assert_allclose(states[0, -2:], [[1.0, 1.0], [50.0, 1e25]])


def test_tensors_become_structures() -> None:
    assert isinstance(as_transition(torch.ones(3), 3), Diagonal)
    assert isinstance(as_transition(torch.ones(3, 3), 3), Dense)
    assert isinstance(as_transition(torch.ones(1, 1), 1), Dense)


BAD_STRUCTURES = {
    "Identity: expected a size of at least 1, got 0": lambda: Identity(0),
    "Diagonal: expected values of shape at least 1, got (0,)": lambda: Diagonal(torch.ones(0)),
    "Diagonal: expected values of shape 2, got (2, 2)": lambda: Diagonal(torch.ones(2, 2)),
    "Dense: expected matrix of shape 2 x 2, got (2, 3)": lambda: Dense(torch.ones(2, 3)),
    "DiagonalPlusLowRank: expected left of shape 3 x 2, got (4, 2)": lambda: DiagonalPlusLowRank(
        torch.ones(3), torch.ones(4, 2), torch.ones(3, 2)
    ),
    "DiagonalPlusLowRank: expected right of shape 3 x 2, got (3, 1)": lambda: DiagonalPlusLowRank(
        torch.ones(3), torch.ones(3, 2), torch.ones(3, 1)
    ),
    "A: expected a transition structure, a (3,) or a (3, 3) tensor for a state of width 3, "
    "got shape (3, 2)": lambda: as_transition(torch.ones(3, 2), 3),
    "A: expected a transition structure, a (3,) or a (3, 3) tensor for a state of width 3, "
    "got Identity(size=2)": lambda: as_transition(Identity(2), 3),
    "a (3, 3) tensor, got float": lambda: as_transition(1.0, 3),
}


@pytest.mark.parametrize("message", BAD_STRUCTURES)
def test_wrong_structures(message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        BAD_STRUCTURES[message]()


BAD_CALLS = {
    "B: expected shape (D, d), state by input width, got (3,)": {"B": torch.ones(3)},
    "inputs: expected shape (N, T, 2), 2 being the columns of B, got (4, 5)": {
        "inputs": torch.ones(4, 5)
    },
    "inputs: expected shape (N, T, 2), 2 being the columns of B, got (4, 5, 3)": {
        "inputs": torch.ones(4, 5, 3)
    },
    "initial: expected shape (4, 3), one state per sequence, or (3,) for all, got (5, 3)": {
        "initial": torch.ones(5, 3)
    },
    "got A (values) of torch.float64 on cpu and B of torch.float32 on cpu; convert one": {
        "A": torch.ones(3, dtype=torch.float64)
    },
    "got inputs of torch.float64 on cpu and B of torch.float32 on cpu; convert one": {
        "inputs": torch.ones(4, 5, 2, dtype=torch.float64)
    },
    "got initial of torch.float32 on meta and B of torch.float32 on cpu; convert one": {
        "initial": torch.ones(3, device="meta")
    },
    "inputs: expected a torch tensor, got ndarray; convert it with torch.as_tensor": {
        "inputs": np.ones((4, 5, 2))
    },
    "inputs: expected a real floating-point tensor, got torch.int64": {
        "inputs": torch.ones(4, 5, 2, dtype=torch.int64)
    },
    "mode: expected one of auto, recurrent, convolutional, scan, got 'fft'": {"mode": "fft"},
}


@pytest.mark.parametrize("message", BAD_CALLS)
def test_wrong_calls(message: str) -> None:
    arguments = {
        "A": torch.ones(3),
        "B": torch.ones(3, 2),
        "inputs": torch.ones(4, 5, 2),
        "initial": torch.ones(3),
    }
    with pytest.raises(UsageError, match=re.escape(message)):
        linear_recurrence(**{**arguments, **BAD_CALLS[message]})


@pytest.mark.parametrize(
    ("inputs", "state", "message"),
    [
        ((4, 3), (4, 3), "inputs: expected shape (N, 2), 2 being the columns of B, got (4, 3)"),
        ((4, 2), (3,), "state: expected shape (4, 3), one state per row of inputs, got (3,)"),
    ],
)
def test_wrong_steps(inputs: tuple[int, ...], state: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        recurrence_step(torch.ones(3), torch.ones(3, 2), torch.ones(inputs), torch.ones(state))
