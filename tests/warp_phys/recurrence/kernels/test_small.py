"""The kernel for few states: equal to the reference, sequence by sequence, whatever the sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.warp_phys.recurrence.extended_precision import rounding
from tests.warp_phys.recurrence.transitions.transition_contract import normal
from warp_phys.recurrence.checks import as_transition
from warp_phys.recurrence.kernels import small as _small
from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.systems.compiling.compiler import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")

KINDS = ["diagonal", "dense"]
# N, T, D, d: one lane and several groups, tiles that are whole, ragged or a single step.
SHAPES = [(1, 1, 1, 1), (16, 16, 3, 2), (17, 33, 4, 1), (35, 47, 16, 9), (5, 100, 7, 3)]


def problem(
    kind: str, shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float64, seed: int = 0
) -> list[Tensor]:
    """A, B, inputs and initial."""
    batch, length, size, width = shape
    generator = torch.Generator().manual_seed(seed)
    values = 1 - 0.3 * torch.rand(size, generator=generator).double()
    A = values if kind == "diagonal" else 0.8 * normal(generator, size, size) / size**0.5
    rest = ((size, width), (batch, length, width), (batch, size))
    return [value.to(dtype) for value in (A, *(normal(generator, *one) for one in rest))]


def states(A: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    evaluate = _small.small_diagonal if A.ndim == 1 else _small.small_dense
    return evaluate(A, B, inputs, initial)


def reference(A: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    return recurrent(as_transition(A, len(B)), inputs @ B.mT, initial)


def gradients(found: Tensor, leaves: list[Tensor], seed: int = 1) -> tuple[Tensor, ...]:
    weights = normal(torch.Generator().manual_seed(seed), *found.shape).to(found.dtype)
    return torch.autograd.grad(found, leaves, weights)


def dense(A: Tensor) -> Tensor:
    return torch.diag(A) if A.ndim == 1 else A


@pytest.mark.parametrize("kind", KINDS)
class TestSmall:
    @settings(max_examples=60, deadline=None)
    @given(
        batch=st.integers(1, 40),
        length=st.integers(1, 70),
        size=st.integers(1, _small.LARGEST),
        width=st.integers(1, 11),
        dtype=st.sampled_from([torch.float32, torch.float64]),
        turned=st.booleans(),
        shared=st.booleans(),
        seed=st.integers(0, 2**31),
    )
    def test_states_and_gradients_equal_the_reference(
        self,
        kind: str,
        batch: int,
        length: int,
        size: int,
        width: int,
        dtype: torch.dtype,
        turned: bool,
        shared: bool,
        seed: int,
    ) -> None:
        A, B, inputs, initial = problem(kind, (batch, length, size, width), dtype, seed)
        if turned:
            A, B = A.mT.contiguous().mT if A.ndim == 2 else A.repeat(2)[::2], B.repeat(1, 2)[:, ::2]
            inputs = inputs.permute(2, 1, 0).contiguous().permute(2, 1, 0)
        if shared:
            initial = initial[:1].expand(batch, -1)
        leaves = [value.requires_grad_() for value in (A, B, inputs, initial)]
        found, expected = states(*leaves), reference(*leaves)
        assert found.is_contiguous()
        tolerance = 1e-12 if dtype == torch.float64 else 2e-5
        pairs = zip(gradients(found, leaves), gradients(expected, leaves), strict=True)
        for one, other in [(found, expected), *pairs]:
            assert one.shape == other.shape
            assert one.dtype == dtype
            assert (one - other).abs().max() <= tolerance * other.abs().max().clamp(min=1)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_rounding_against_extended_precision(
        self, kind: str, shape: tuple[int, int, int, int]
    ) -> None:
        A, *rest = problem(kind, shape)
        times = sorted({1, (shape[1] + 1) // 2, shape[1]})
        assert rounding(states(A, *rest), dense(A), *rest, times) * 2.3e-16 < 1e-12

    def test_gradcheck_of_first_and_second_derivatives(self, kind: str) -> None:
        leaves = [value.requires_grad_() for value in problem(kind, (2, 19, 3, 2))]
        assert torch.autograd.gradcheck(states, leaves)
        assert torch.autograd.gradgradcheck(lambda *v: states(*v).sin(), leaves, fast_mode=True)

    def test_second_derivatives_reach_through_copies(self, kind: str) -> None:
        A, B, inputs, initial = problem(kind, (3, 8, 2, 2))
        leaves = [value.requires_grad_() for value in (A, B, inputs.mT.contiguous(), initial.mT)]

        def turned(A: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
            return states(A, B.mT, inputs.mT, initial.mT).sin()

        assert torch.autograd.gradgradcheck(turned, leaves, fast_mode=True)

    @pytest.mark.parametrize("wanted", range(4))
    def test_only_one_gradient(self, kind: str, wanted: int) -> None:
        leaves = problem(kind, (18, 21, 3, 2))
        leaf = leaves[wanted].requires_grad_()
        (found,) = gradients(states(*leaves), [leaf])
        (expected,) = gradients(reference(*leaves), [leaf])
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)

    def test_the_gradient_of_a_sum_and_of_the_last_state(self, kind: str) -> None:
        leaves = [value.requires_grad_() for value in problem(kind, (18, 21, 3, 2))]
        for loss in (Tensor.sum, lambda found: found[:, -1].square().sum()):
            found = torch.autograd.grad(loss(states(*leaves)), leaves)
            expected = torch.autograd.grad(loss(reference(*leaves)), leaves)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("shape", [(0, 5, 3, 2), (3, 0, 3, 2), (3, 5, 3, 0), (0, 0, 1, 0)])
    def test_empty(self, kind: str, shape: tuple[int, int, int, int]) -> None:
        leaves = [value.requires_grad_() for value in problem(kind, shape)]
        found = states(*leaves)
        assert found.shape == shape[:3]
        for one, leaf in zip(gradients(found, leaves), leaves, strict=True):
            assert one.shape == leaf.shape
            assert one.isfinite().all()
        if shape[2:] == (3, 0):
            torch.testing.assert_close(found[:, 0], leaves[3] @ dense(leaves[0]).mT)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_one_in_a_batch_is_it_alone_to_the_last_bit(
        self, kind: str, dtype: torch.dtype
    ) -> None:
        A, B, inputs, initial = problem(kind, (37, 53, 5, 3), dtype)
        inputs.requires_grad_()
        together = states(A, B, inputs, initial)
        weights = torch.ones_like(together)
        (slope,) = torch.autograd.grad(together, inputs, weights)
        for n in (0, 15, 16, 36):
            rows = slice(n, n + 1)
            alone = states(A, B, inputs[rows], initial[rows])
            assert torch.equal(alone, together[rows])
            (slope_alone,) = torch.autograd.grad(alone, inputs, weights[rows])
            assert torch.equal(slope_alone[rows], slope[rows])

    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    def test_nothing_reaches_other_sequences_or_earlier_times(
        self, kind: str, value: float
    ) -> None:
        A, B, inputs, initial = problem(kind, (21, 40, 3, 2), torch.float32)
        inputs.requires_grad_()
        clean = states(A, B, inputs, initial)
        spoiled_inputs = inputs.detach().clone()
        spoiled_inputs[18, 25] = value
        spoiled = states(A, B, spoiled_inputs, initial)
        others = torch.arange(21) != 18
        assert torch.equal(spoiled[others], clean[others])
        assert torch.equal(spoiled[18, :25], clean[18, :25])
        assert not spoiled[18, 25:].isfinite().any()
        (expected,) = torch.autograd.grad(clean, inputs, torch.ones_like(clean), retain_graph=True)
        weights = torch.ones_like(clean)
        weights[18, 25] = value
        (slope,) = torch.autograd.grad(clean, inputs, weights)
        assert torch.equal(slope[others], expected[others])
        assert torch.equal(slope[18, 26:], expected[18, 26:])

    def test_same_bits_for_any_number_of_threads(self, kind: str) -> None:
        leaves = [v.requires_grad_() for v in problem(kind, (1100, 37, 3, 2), torch.float32)]
        threads = torch.get_num_threads()
        try:
            runs = []
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                found = states(*leaves)
                runs.append((found, *gradients(found, leaves)))
        finally:
            torch.set_num_threads(threads)
        for run in runs[1:]:
            assert all(torch.equal(one, other) for one, other in zip(run, runs[0], strict=True))

    @pytest.mark.parametrize(
        ("growth", "bound"), [(0.5, 5e-7), (0.9, 2e-6), (0.999, 2e-5), (1.0, 2e-5), (-0.9, 2e-6)]
    )
    def test_float32_over_many_steps(self, kind: str, growth: float, bound: float) -> None:
        generator = torch.Generator().manual_seed(0)
        A = torch.full((2,), growth, dtype=torch.float32)
        A = A if kind == "diagonal" else torch.diag(A)
        B, inputs, initial = (
            normal(generator, *s).float() for s in ((2, 1), (3, 100_000, 1), (3, 2))
        )
        single = [value.requires_grad_() for value in (A, B, inputs, initial)]
        double = [value.detach().double().requires_grad_() for value in single]
        found, expected = states(*single), states(*double)
        assert (found - expected).abs().max() < bound * expected.abs().max()
        if abs(growth) < 1:
            for one, other in zip(
                gradients(found, single), gradients(expected, double), strict=True
            ):
                assert (one - other).abs().max() < 10 * bound * other.abs().max()
