"""The Triton kernels against the reference: on a GPU where there is one, else interpreted."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.warp_phys.recurrence.extended_precision import rounding
from warp_phys.recurrence.kernels.triton_launch import TILE, chunk_length, triton_available
from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.recurrence.transitions.dense import Dense
from warp_phys.recurrence.transitions.diagonal import Diagonal

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# As in conftest.py. Other tests, and what they start, do not see the variable.
with pytest.MonkeyPatch.context() as patch:
    if DEVICE.type == "cpu":
        patch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton")
    assert triton_available(DEVICE), "Triton was imported before, not to be interpreted"
    from warp_phys.recurrence.kernels.triton_dense import dense_in_chunks, triton_dense
    from warp_phys.recurrence.kernels.triton_diagonal import diagonal_in_chunks, triton_diagonal

# What the interpreter's NumPy warns of; a GPU does not.
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

Evaluate = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

# N, T, D, d and the steps of a chunk: one or several, with tails in time, sequences and lanes.
DIAGONAL = [((3, 19, 5, 2), 8), ((2, 3, 130, 1), 16), ((1, 9, 1, 5), 8), ((33, 3, 3, 1), 8)]
DENSE = [((3, 19, 3, 2), 8), ((2, 3, 16, 1), 8), ((35, 9, 1, 3), 16), ((1, 9, 5, 1), 8)]
CASES = [
    *(("diagonal", *case, torch.float64) for case in DIAGONAL),
    *(("dense", *case, torch.float64) for case in DENSE),
    ("diagonal", *DIAGONAL[0], torch.float32),
    ("dense", *DENSE[0], torch.float32),
]


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Triton imports at its first launch reads the variable as well."""
    if DEVICE.type == "cpu":
        monkeypatch.setenv("TRITON_INTERPRET", "1")


def leaves(
    structure: str, shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    batch, length, size, width = shape
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    of_a = normal(size).tanh() if structure == "diagonal" else 0.9 * normal(size, size) / size**0.5
    rest = (normal(size, width), normal(batch, length, width), normal(batch, size))
    return [x.to(DEVICE, dtype).requires_grad_() for x in (of_a, *rest)]


def in_chunks(structure: str, chunk: int) -> Evaluate:
    if structure == "diagonal":
        return lambda *values: diagonal_in_chunks(*values, chunk, chunk)
    return lambda *values: dense_in_chunks(*values, chunk)


def reference(of_a: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    structure = Diagonal(of_a) if of_a.ndim == 1 else Dense(of_a)
    return recurrent(structure, inputs @ B.mT, initial)


def assert_equal(found: Tensor, expected: Tensor) -> None:
    accuracy = 1e-12 if found.dtype == torch.float64 else 3e-6
    largest = expected.detach().abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=accuracy, atol=accuracy * largest)


@pytest.mark.parametrize(("structure", "shape", "chunk", "dtype"), CASES)
def test_states_and_gradients(
    structure: str, shape: tuple[int, int, int, int], chunk: int, dtype: torch.dtype
) -> None:
    wanted = leaves(structure, shape, dtype)
    states, expected = in_chunks(structure, chunk)(*wanted), reference(*wanted)
    assert states.is_contiguous()
    assert_equal(states, expected)
    weights = torch.rand_like(states)
    gradients = torch.autograd.grad(states, wanted, weights)
    for found, other in zip(gradients, torch.autograd.grad(expected, wanted, weights), strict=True):
        assert_equal(found, other)


@pytest.mark.parametrize("structure", ["diagonal", "dense"])
def test_strides_and_leaves_without_gradients(structure: str) -> None:
    of_a, B, inputs, _ = leaves(structure, (3, 11, 3, 2))
    of_a = of_a.detach().mT if of_a.ndim == 2 else of_a.detach().repeat_interleave(2)[::2]
    turned = inputs.detach().permute(2, 0, 1).contiguous().permute(1, 2, 0)
    start = torch.ones(3, dtype=B.dtype, device=DEVICE, requires_grad=True)
    arguments = (of_a, B.detach().mT.contiguous().mT, turned, start.expand(3, -1))
    states, expected = in_chunks(structure, 8)(*arguments), reference(*arguments)
    assert_equal(states, expected)
    # The gradient of a sum is one number, expanded.
    assert_equal(
        torch.autograd.grad(states.sum(), start)[0], torch.autograd.grad(expected.sum(), start)[0]
    )


@pytest.mark.parametrize("structure", ["diagonal", "dense"])
def test_second_derivatives(structure: str) -> None:
    wanted = leaves(structure, (2, 9, 2, 1))
    found = []
    for evaluate in (in_chunks(structure, 8), reference):
        loss = evaluate(*wanted).square().sum()
        first = torch.autograd.grad(loss, wanted, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), wanted))
    for one, other in zip(*found, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("structure", ["diagonal", "dense"])
@pytest.mark.parametrize("missing", [math.nan, math.inf])
def test_what_is_missing_stays_in_its_sequence(structure: str, missing: float) -> None:
    arguments = [x.detach() for x in leaves(structure, (3, 18, 2, 1))]
    whole = in_chunks(structure, 8)(*arguments)
    arguments[2][1, 10] = missing
    states = in_chunks(structure, 8)(*arguments)
    assert_equal(states[[0, 2]], whole[[0, 2]])
    assert_equal(states[1, :10], whole[1, :10])
    assert not states[1, 10:].isfinite().any()


@pytest.mark.parametrize("structure", ["diagonal", "dense"])
def test_a_sequence_alone_has_the_same_bits(structure: str) -> None:
    of_a, B, inputs, initial = (x.detach() for x in leaves(structure, (35, 11, 3, 1)))
    evaluate = in_chunks(structure, 8)
    alone = evaluate(of_a, B, inputs[33:34], initial[33:34])
    assert torch.equal(evaluate(of_a, B, inputs, initial)[33:34], alone)


@pytest.mark.parametrize("structure", ["diagonal", "dense"])
def test_states_that_overflow_and_states_that_do_not(structure: str) -> None:
    growth = torch.full((1,), 1e200, dtype=torch.float64, device=DEVICE)
    of_a = growth if structure == "diagonal" else growth.diag()
    B, inputs, start = growth.new_ones(1, 1), growth.new_zeros(1, 20, 1), growth.new_zeros(1, 1)
    assert not in_chunks(structure, 8)(of_a, B, inputs, start).any()
    inputs[0, 10] = 1e-200
    arguments = (of_a, B, inputs, start)
    torch.testing.assert_close(in_chunks(structure, 8)(*arguments), reference(*arguments))


def test_an_infinite_state_stays_infinite_where_the_power_vanishes() -> None:
    a = torch.tensor([1e-200, -0.5], device=DEVICE, dtype=torch.float64)
    inputs = a.new_zeros(1, 24, 1)
    inputs[0, 3] = math.inf
    arguments = (a, a.new_ones(2, 1), inputs, a.new_zeros(1, 2))
    torch.testing.assert_close(diagonal_in_chunks(*arguments, 8, 8), reference(*arguments))


def test_a_matrix_far_from_normal() -> None:
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64)).Q
    triangle = torch.diag_embed(turn.new_full((4,), 0.5)) + 100 * turn.new_ones(4, 4).triu(1)
    matrix = (turn @ triangle @ turn.mT).to(DEVICE)
    _, B, inputs, initial = (x.detach() for x in leaves("dense", (1, 40, 4, 1)))
    found, expected = (
        rounding(*(x.cpu() for x in (evaluate(*values), *values)), times=[16, 17, 33, 40])
        for values in [(matrix, B, inputs, initial)]
        for evaluate in (in_chunks("dense", 16), reference)
    )
    assert found < 2 * expected


@pytest.mark.parametrize("structure", ["diagonal", "dense"])
@pytest.mark.parametrize("shape", [(0, 5, 3, 2), (4, 0, 3, 2), (4, 5, 3, 0)])
def test_empty(structure: str, shape: tuple[int, int, int, int]) -> None:
    wanted = leaves(structure, shape)
    evaluate = triton_diagonal if structure == "diagonal" else triton_dense
    states = evaluate(*wanted)
    assert states.shape == shape[:3]
    for gradient, leaf in zip(torch.autograd.grad(states.sum(), wanted), wanted, strict=True):
        assert gradient.shape == leaf.shape
    if states.numel():
        assert_equal(states, reference(*wanted))


def test_chunks_fill_the_device() -> None:
    # Enough programs, a short series: whole.
    assert chunk_length(1000, programs=2000, wanted=2000, shortest=256) >= 1000
    assert chunk_length(300, programs=1, wanted=2000, shortest=256) >= 300
    # One long sequence: a chunk for every program that there is room for.
    assert chunk_length(10**6, programs=1, wanted=2000, shortest=256) == 504
    # As many as there are steps for.
    assert chunk_length(2560, programs=1, wanted=2000, shortest=256) == 256
    # Sums over time stay short, however full the device is.
    assert chunk_length(10**6, programs=10**5, wanted=2000, shortest=256) <= 4096
    for length in (1, 7, 255, 513, 99_991):
        assert chunk_length(length, programs=3, wanted=64, shortest=32) % TILE == 0


def test_the_processor_is_not_asked_for_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not triton_available(torch.device("cpu"))
    assert not triton_available(torch.device("meta"))
