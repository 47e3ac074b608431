"""Perceptrons whose weights are the states: all ways give what the states themselves give."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from tests.warp_phys.recurrence.transitions.transition_contract import normal
from warp_phys.recurrence.kernels import perceptron as _perceptron
from warp_phys.recurrence.linear_recurrence import linear_recurrence
from warp_phys.recurrence.networks.evaluate import evaluate
from warp_phys.recurrence.networks.outputs import root_outputs, still_outputs
from warp_phys.recurrence.transitions.complex_diagonal import ComplexDiagonal
from warp_phys.recurrence.transitions.dense import Dense
from warp_phys.recurrence.transitions.diagonal import Diagonal
from warp_phys.recurrence.transitions.identity import Identity
from warp_phys.recurrence.transitions.identity_low_rank import IdentityPlusLowRank
from warp_phys.recurrence.transitions.transition import Transition

DOUBLE = torch.float64
DTYPES = [torch.float32, torch.float64]


def layers(*widths: int) -> tuple[tuple[int, int], ...]:
    return tuple((out, into) for into, out in pairwise(widths))


def size_of(shapes: tuple[tuple[int, int], ...]) -> int:
    return sum(out * into + out for out, into in shapes)


class Example:
    """Random tensors of N sequences of T states."""

    def __init__(
        self, batch: int, length: int, width: int, *widths: int, dtype: torch.dtype = DOUBLE
    ) -> None:
        draw = torch.Generator().manual_seed(batch + 100 * length)
        self.shapes = layers(*widths)
        size = size_of(self.shapes)
        self.values = (1 - 0.2 * torch.rand(size, generator=draw).double()).to(dtype)
        self.B = (0.3 * normal(draw, size, width)).to(dtype)
        self.inputs = (0.3 * normal(draw, batch, length - 1, width)).to(dtype)
        self.initial = (0.5 * normal(draw, batch, size)).to(dtype)
        self.points = normal(draw, batch, length, widths[0]).to(dtype)
        self.factors = (0.1 * normal(draw, 2, size, 2)).to(dtype)

    def leaves(self) -> list[Tensor]:
        found = [self.B, self.inputs, self.initial, self.points]
        return [value.detach().requires_grad_() for value in found]


def by_all_states(
    A: Transition, example: Example, B: Tensor, inputs: Tensor, initial: Tensor, points: Tensor
) -> Tensor:
    states = initial.unsqueeze(1)
    if inputs.shape[1]:
        states = torch.cat([states, linear_recurrence(A, B, inputs, initial, "recurrent")], 1)
    return torch.cat([evaluate(example.shapes, states, points), states], dim=2)


def check(build: Callable[[Tensor], Transition], example: Example, place: int) -> None:
    """Values, the chosen state and all gradients, those of A included."""
    tolerance = 1e-11 if example.B.dtype == DOUBLE else 2e-5
    free = example.values.clone().requires_grad_()
    leaves = example.leaves()
    B, inputs, initial, points = leaves
    outputs, state = root_outputs(build(free), B, inputs, initial, example.shapes, points, place)
    weights = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    found = torch.autograd.grad(
        (outputs * weights).sum() + state.square().sum(), [free, *leaves], allow_unused=True
    )
    both = by_all_states(build(free), example, *leaves)
    wanted, states = both[..., : outputs.shape[2]], both[..., outputs.shape[2] :]
    expected = torch.autograd.grad(
        (wanted * weights).sum() + states[:, place].square().sum(),
        [free, *leaves],
        allow_unused=True,
    )
    assert_close(outputs, wanted, rtol=tolerance, atol=tolerance)
    assert_close(state, states[:, place], rtol=tolerance, atol=tolerance)
    for one, other in zip(found, expected, strict=True):
        if other is not None and other.numel():
            assert one is not None
            scale = float(other.detach().abs().max())
            assert_close(one, other, rtol=0, atol=20 * tolerance * max(scale, 1e-30))


EXAMPLES = {
    "one": (1, 1, 1, 1, 4, 2),
    "short": (3, 5, 2, 1, 5, 3),
    "ragged": (17, 70, 1, 2, 4, 6, 1),
    "paper": (20, 97, 3, 1, 16, 16, 2),
    "wide": (9, 40, 7, 1, 3, 3, 9),
    "linear": (2, 33, 4, 3, 2),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_diagonal_in_the_kernel(name: str, dtype: torch.dtype) -> None:
    example = Example(*EXAMPLES[name], dtype=dtype)
    length = example.points.shape[1]
    for place in {0, length // 2, length - 1}:
        check(Diagonal, example, place)


STRUCTURES: dict[str, Callable[[Tensor], Transition]] = {
    "identity": lambda values: Identity(len(values)),
    "dense": lambda values: Dense(torch.diag(values)),
    "complex": lambda values: ComplexDiagonal(values[:17], values[17:] - 1),
}


@pytest.mark.parametrize("compiler", [True, False], ids=["compiled", "no compiler"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_other_transitions(
    structure: str, compiler: bool, without_compiler: Callable[[], None]
) -> None:
    if not compiler:
        without_compiler()
    example = Example(5, 40, 2, 1, 6, 3)
    for place in (0, 1, 39):
        check(STRUCTURES[structure], example, place)


@pytest.mark.parametrize("tiled", [False, True])
def test_a_diagonal_without_a_compiler(
    tiled: bool, monkeypatch: pytest.MonkeyPatch, without_compiler: Callable[[], None]
) -> None:
    without_compiler()
    if tiled:
        monkeypatch.setattr("warp_phys.recurrence.networks.tiles.BUDGET", 0)
        monkeypatch.setattr("warp_phys.recurrence.networks.tiles._TILE_BYTES", 20_000)
    example = Example(5, 40, 2, 1, 6, 3)
    for place in (0, 1, 13, 39):
        check(Diagonal, example, place)


@pytest.mark.parametrize("compiler", [True, False], ids=["compiled", "no compiler"])
@pytest.mark.parametrize("width", [2, 9])
def test_the_identity_plus_low_rank(
    width: int, compiler: bool, without_compiler: Callable[[], None]
) -> None:
    if not compiler:
        without_compiler()
    example = Example(5, 30, width, 1, 6, 3)
    left, right = example.factors
    for place in (0, 12, 29):
        check(lambda values: IdentityPlusLowRank(left * values[:, None], right), example, place)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_still_weights(dtype: torch.dtype) -> None:
    example = Example(19, 50, 1, 2, 9, 3, dtype=dtype)
    theta = example.initial.requires_grad_()
    states = theta.unsqueeze(1).expand(-1, 50, -1)
    outputs = still_outputs(example.shapes, theta, example.points)
    expected = evaluate(example.shapes, states, example.points)
    tolerance = 1e-12 if dtype == DOUBLE else 1e-5
    assert_close(outputs, expected, rtol=tolerance, atol=tolerance)
    (found,) = torch.autograd.grad(outputs.square().sum(), theta)
    (wanted,) = torch.autograd.grad(expected.square().sum(), theta)
    assert_close(found, wanted, rtol=10 * tolerance, atol=10 * tolerance)


def test_derivatives_of_both_orders() -> None:
    example = Example(2, 4, 2, 1, 2, 1)
    leaves = [example.values.requires_grad_(), *example.leaves()]

    def outputs(
        values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor, points: Tensor
    ) -> tuple[Tensor, Tensor]:
        apart = inputs.mT.contiguous().mT, initial.mT.contiguous().mT
        return _perceptron.state_perceptron(example.shapes, values, B, *apart, points, place=2)

    assert gradcheck(outputs, leaves)
    assert gradgradcheck(outputs, leaves)


def test_a_sequence_is_computed_alone_as_in_a_batch_and_nothing_spreads() -> None:
    example = Example(21, 45, 2, 1, 5, 2)
    A, rest = Diagonal(example.values), (example.shapes, example.points, 3)
    inputs, initial = example.inputs.clone(), example.initial
    clean, _ = root_outputs(A, example.B, inputs, initial, *rest)
    alone, _ = root_outputs(
        A, example.B, inputs[7:8], initial[7:8], example.shapes, example.points[7:8], 3
    )
    assert torch.equal(alone[0], clean[7])
    inputs[4, 9] = torch.nan
    spoiled, _ = root_outputs(A, example.B, inputs, initial, *rest)
    others = torch.arange(21) != 4
    assert torch.equal(spoiled[others], clean[others])
    assert torch.equal(spoiled[4, :10], clean[4, :10])
    assert spoiled[4, 10:].isnan().all()


def test_sums_are_the_same_whatever_the_threads() -> None:
    example = Example(70, 40, 2, 1, 5, 2, dtype=torch.float32)
    found = []
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        values = example.values.clone().requires_grad_()
        outputs, _ = root_outputs(
            Diagonal(values),
            example.B,
            example.inputs,
            example.initial,
            example.shapes,
            example.points,
            0,
        )
        found.append(torch.autograd.grad(outputs.square().sum(), values)[0])
    torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_sums_over_a_long_series_stay_accurate() -> None:
    grads = []
    for dtype in DTYPES:
        B = torch.tensor([[0.0], [1.0]], dtype=dtype, requires_grad=True)
        inputs = torch.full((1, 200_000, 1), 1e-3, dtype=dtype)
        points = torch.ones(1, 200_001, 1, dtype=dtype)
        values = torch.full((2,), 0.5, dtype=dtype)
        start = torch.zeros(1, 2, dtype=dtype)
        outputs, _ = root_outputs(Diagonal(values), B, inputs, start, layers(1, 1), points, 0)
        grads.append(torch.autograd.grad(outputs.sum(), B)[0].double())
    assert_close(grads[0], grads[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize(("dtype", "worst"), [(torch.float32, 2.0), (DOUBLE, 2.5)])
def test_the_kernels_tanh(dtype: torch.dtype, worst: float) -> None:
    line = torch.cat([torch.linspace(-25, 25, 100_001), torch.logspace(-30, 1, 50_000)]).to(dtype)
    theta = torch.tensor([[1.0, 0.0, 1.0, 0.0]], dtype=dtype)
    found = still_outputs(layers(1, 1, 1), theta, line.view(1, -1, 1)).flatten().double()
    expected = torch.tanh(line.double())
    assert ((found - expected).abs() <= worst * torch.finfo(dtype).eps * expected.abs()).all()
    special = torch.tensor([torch.inf, -torch.inf, torch.nan], dtype=dtype)
    found = still_outputs(layers(1, 1, 1), theta, special.view(1, -1, 1)).flatten()
    assert_close(found, torch.tanh(special), equal_nan=True)


def test_nothing_to_evaluate() -> None:
    shapes = layers(1, 3, 2)
    size = size_of(shapes)
    none = torch.zeros(0, 5, 1)
    outputs, state = root_outputs(
        Diagonal(torch.ones(size)),
        torch.ones(size, 2),
        torch.zeros(0, 4, 2),
        torch.zeros(0, size),
        shapes,
        none,
        2,
    )
    assert outputs.shape == (0, 5, 2)
    assert state.shape == (0, size)
    assert still_outputs(shapes, torch.zeros(0, size), none).shape == (0, 5, 2)
