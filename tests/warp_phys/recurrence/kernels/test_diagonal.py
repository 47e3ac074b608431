"""The compiled kernel for a diagonal A and wide states, against the recurrence as it reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.warp_phys.recurrence.extended_precision import rounding
from tests.warp_phys.recurrence.transitions.transition_contract import normal
from warp_phys.recurrence.kernels.diagonal import available, diagonal_recurrence
from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.recurrence.transitions.diagonal import Diagonal

pytestmark = pytest.mark.skipif(not available(torch.float64), reason="needs a C++ compiler")

# A block of a row has 128 vectors: 2048 single or 1024 double numbers.
BLOCK = 2048


def problem(shape: tuple[int, int, int, int], seed: int = 0) -> list[Tensor]:
    """The diagonal, B, inputs and initial for (N, T, D, d)."""
    batch, length, size, width = shape
    generator = torch.Generator().manual_seed(seed)
    values = 1 - 0.3 * torch.rand(size, generator=generator, dtype=torch.float64)
    rest = ((size, width), (batch, length, width), (batch, size))
    return [values, *(normal(generator, *one) for one in rest)]


def reference(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    return recurrent(Diagonal(values), inputs @ B.mT, initial)


def both_gradients(tensors: list[Tensor], weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The gradients of the kernel in the tensors' type beside those of the reference in double."""
    leaves = [value.detach().requires_grad_() for value in tensors]
    doubles = [value.detach().double().requires_grad_() for value in tensors]
    found = torch.autograd.grad(diagonal_recurrence(*leaves), leaves, weights.to(leaves[0].dtype))
    exact = torch.autograd.grad(reference(*doubles), doubles, weights.double())
    return zip(found, exact, strict=True)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


sizes = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 129, BLOCK + 1, BLOCK + 65]))
shapes = st.tuples(st.integers(1, 4), st.integers(1, 40), sizes, st.integers(0, 9))


class TestEquality:
    @settings(max_examples=40, deadline=None)
    @given(shape=shapes, seed=st.integers(0, 2**31))
    def test_states_and_gradients(self, shape: tuple[int, int, int, int], seed: int) -> None:
        tensors = problem(shape, seed)
        weights = normal(torch.Generator().manual_seed(seed), *shape[:3])
        for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
            typed = [value.to(dtype) for value in tensors]
            exact = reference(*(value.double() for value in typed))
            found = diagonal_recurrence(*typed)
            assert found.dtype == dtype
            assert found.is_contiguous()
            assert (found - exact).abs().max() <= tolerance * (1 + exact.abs().max())
            for one, wanted in both_gradients(typed, weights):
                assert one.shape == wanted.shape
                assert one.dtype == dtype
                if one.numel():
                    assert (one - wanted).abs().max() <= tolerance * (1 + wanted.abs().max())

    @pytest.mark.parametrize(
        "shape", [(2, 60, 17, 2), (1, 25, 100, 4), (2, 9, 5, 3), (1, 8, 70, 6)]
    )
    def test_extended_precision(self, shape: tuple[int, int, int, int]) -> None:
        values, *rest = problem(shape)
        states = diagonal_recurrence(values, *rest)
        times = sorted({1, shape[1] // 2, shape[1]})
        units = rounding(states, torch.diag(values), *rest, times)
        assert units * torch.finfo(torch.float64).eps < 1e-12

    @settings(max_examples=15, deadline=None)
    @given(size=st.integers(1, 40), dtype=st.sampled_from([torch.float32, torch.float64]))
    def test_any_strides(self, size: int, dtype: torch.dtype) -> None:
        values, B, inputs, initial = (value.to(dtype) for value in problem((3, 21, size, 2)))
        odd = [
            torch.stack([values, values], 1)[:, 0],
            B.mT.contiguous().mT,
            inputs.permute(2, 1, 0).contiguous().permute(2, 1, 0),
            initial.mT.contiguous().mT,
        ]
        usual = diagonal_recurrence(values, B, inputs, initial)
        assert torch.equal(diagonal_recurrence(*odd), usual)
        for start in (initial[:1].expand(3, -1), initial[:1, :1].expand(3, size)):
            shared = diagonal_recurrence(values, B, inputs, start)
            assert torch.equal(shared, diagonal_recurrence(values, B, inputs, start.contiguous()))

    @pytest.mark.parametrize("size", [5, 33])
    def test_any_strides_of_the_gradient(self, size: int) -> None:
        tensors = [value.requires_grad_() for value in problem((3, 20, size, 2))]
        states = diagonal_recurrence(*tensors)
        one = torch.ones((), dtype=torch.float64)
        turned = normal(torch.Generator(), size, 20, 3).permute(2, 1, 0)
        row = normal(torch.Generator(), size)
        for weights in (one.expand(3, 20, size), row.expand(3, 20, size), turned):
            found = torch.autograd.grad(states, tensors, weights, retain_graph=True)
            usual = torch.autograd.grad(states, tensors, weights.contiguous(), retain_graph=True)
            assert all(torch.equal(*pair) for pair in zip(found, usual, strict=True))


class TestDerivatives:
    @pytest.mark.parametrize("size", [3, 18])
    @pytest.mark.parametrize("width", [1, 2, 5])
    def test_first_and_second(self, size: int, width: int) -> None:
        leaves = [value.requires_grad_() for value in problem((2, 5, size, width))]
        assert torch.autograd.gradcheck(diagonal_recurrence, leaves, fast_mode=True)
        assert torch.autograd.gradgradcheck(diagonal_recurrence, leaves, fast_mode=True)

    def test_second_ones_through_strided_tensors(self) -> None:
        values, B, inputs, initial = problem((2, 5, 18, 2))
        leaves = [values, B, inputs.mT.contiguous(), initial.mT.contiguous()]

        def turned(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
            return diagonal_recurrence(values, B, inputs.mT, initial.mT)

        leaves = [value.requires_grad_() for value in leaves]
        assert torch.autograd.gradgradcheck(turned, leaves, fast_mode=True)

    @pytest.mark.parametrize("number", range(4))
    def test_only_those_needed(self, number: int) -> None:
        tensors = problem((2, 7, 20, 2))
        tensors[number].requires_grad_()
        diagonal_recurrence(*tensors).sum().backward()
        assert [value.grad is not None for value in tensors] == [i == number for i in range(4)]


class TestSpecialCases:
    @pytest.mark.parametrize("shape", [(0, 5, 20, 2), (3, 0, 20, 2), (0, 0, 3, 1), (2, 4, 20, 0)])
    def test_empty(self, shape: tuple[int, int, int, int]) -> None:
        leaves = [value.requires_grad_() for value in problem(shape)]
        states = diagonal_recurrence(*leaves)
        assert states.shape == shape[:3]
        for value in torch.autograd.grad(states.sum(), leaves):
            assert value.isfinite().all()
        if 0 in shape[:2]:
            values, *_ = torch.autograd.grad(diagonal_recurrence(*leaves).sum(), leaves)
            assert not values.any()

    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    @pytest.mark.parametrize("size", [7, 19, BLOCK + 3])
    def test_nothing_reaches_other_sequences_or_earlier_times(
        self, value: float, size: int
    ) -> None:
        tensors = [each.float() for each in problem((3, 40, size, 2))]
        clean = diagonal_recurrence(*tensors)
        tensors[2][1, 30] = value
        spoiled = diagonal_recurrence(*tensors)
        assert torch.equal(spoiled[[0, 2]], clean[[0, 2]])
        assert torch.equal(spoiled[1, :30], clean[1, :30])
        assert not spoiled[1, 30:].isfinite().any()

    @pytest.mark.parametrize("size", [20, 2 * BLOCK + 5])
    def test_one_in_a_batch_equals_it_alone(self, size: int) -> None:
        values, B, inputs, initial = (each.float() for each in problem((5, 30, size, 3)))
        together = diagonal_recurrence(values, B, inputs, initial)
        alone = diagonal_recurrence(values, B, inputs[2:3], initial[2:3])
        assert torch.equal(alone, together[2:3])

    @pytest.mark.parametrize("shape", [(70, 12, 20, 2), (1, 40, 3 * BLOCK + 5, 5)])
    def test_the_same_bits_with_more_threads(
        self, threads: None, shape: tuple[int, int, int, int]
    ) -> None:
        leaves = [each.float().requires_grad_() for each in problem(shape)]

        def everything(count: int) -> tuple[Tensor, ...]:
            torch.set_num_threads(count)
            states = diagonal_recurrence(*leaves)
            return (states, *torch.autograd.grad((states**2).sum(), leaves))

        first = everything(1)
        for count in (2, 3):
            pairs = zip(everything(count), first, strict=True)
            assert all(torch.equal(*pair) for pair in pairs)


class TestLongSeries:
    # Roughly what a sequential evaluation in single precision comes to, at worst, over the largest
    # state. It depends on the draw, and so the plain loop stands beside it.
    EXPECTED = {0.5: 5e-7, 0.9: 2e-6, 0.999: 2e-5, 1.0: 1e-5, 1.0005: 7e-6, -0.9: 2e-6}

    @pytest.mark.parametrize("width", [1, 2])
    def test_single_precision_at_a_hundred_thousand_steps(self, width: int) -> None:
        values = torch.tensor(list(self.EXPECTED)).repeat_interleave(10)
        shape = (1, 100_000, len(values), width)
        tensors = [values, *(each.float() for each in problem(shape)[1:])]
        exact = diagonal_recurrence(*(each.double() for each in tensors))

        def worst(states: Tensor) -> Tensor:
            error = (states - exact).abs().amax((0, 1)) / exact.abs().amax((0, 1))
            return error.unflatten(0, (-1, 10)).amax(1)

        found, loop = worst(diagonal_recurrence(*tensors)), worst(reference(*tensors))
        assert (found <= 1.25 * loop).all()
        assert (found <= 2 * torch.tensor(list(self.EXPECTED.values()))).all()

    def test_sums_over_a_million_steps(self) -> None:
        tensors = [each.float() for each in problem((1, 1_000_000, 17, 1))]
        tensors[0] = torch.linspace(-0.9, 0.9, 17)
        found, exact = (
            torch.autograd.grad(diagonal_recurrence(*leaves).sum(), leaves)
            for leaves in (
                [each.clone().requires_grad_() for each in tensors],
                [each.double().requires_grad_() for each in tensors],
            )
        )
        for one, wanted in zip(found, exact, strict=True):
            assert (one - wanted).abs().max() < 2e-5 * wanted.abs().max()
