"""What every structure of A keeps to; a test class per structure inherits it."""

import copy
from dataclasses import FrozenInstanceError, fields
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.warp_phys.recurrence.extended_precision import reference, rounding
from warp_phys.recurrence.checks import as_transition
from warp_phys.recurrence.linear_recurrence import Mode, linear_recurrence, recurrence_step
from warp_phys.recurrence.transitions.transition import Transition

MODES: tuple[Mode, ...] = get_args(Mode)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


class TransitionContract:
    """A subclass says how to build one of a given size and growth."""

    def tensors(self, size: int, growth: float, generator: torch.Generator) -> list[Tensor]:
        """The structure's tensors, its spectral radius being near the growth."""
        raise NotImplementedError

    def build(self, size: int, tensors: list[Tensor]) -> Transition:
        raise NotImplementedError

    def example(self, size: int = 3, growth: float = 0.9, seed: int = 0) -> Transition:
        generator = torch.Generator().manual_seed(seed)
        return self.build(size, self.tensors(size, growth, generator))

    # The structure

    @pytest.mark.parametrize("size", [1, 4])
    @pytest.mark.parametrize("shape", [(), (5,), (2, 0), (2, 3)])
    def test_apply_is_the_dense_product(self, size: int, shape: tuple[int, ...]) -> None:
        A = self.example(size)
        x = normal(torch.Generator().manual_seed(1), *shape, size)
        assert A.size == size
        torch.testing.assert_close(A.apply(x), x @ A.to_dense(torch.float64).mT)

    @pytest.mark.parametrize("size", [1, 4])
    def test_step_adds_to_apply(self, size: int) -> None:
        A = self.example(size)
        x, v = normal(torch.Generator().manual_seed(1), 2, 5, size)
        torch.testing.assert_close(A.step(x, v), A.apply(x) + v)

    @pytest.mark.parametrize("exponent", [1, 2, 7])
    def test_power_is_the_dense_power(self, exponent: int) -> None:
        A = self.example(4)
        power = torch.linalg.matrix_power(A.to_dense(torch.float64), exponent)
        torch.testing.assert_close(A.power(exponent).to_dense(torch.float64), power)

    @pytest.mark.parametrize("count", [0, 1, 2, 9])
    def test_orbit_lists_the_states(self, count: int) -> None:
        A = self.example(4)
        x = normal(torch.Generator().manual_seed(1), 2, 4)
        orbit = A.orbit(x, count)
        assert orbit.shape == (count, 2, 4)
        for state in orbit:
            torch.testing.assert_close(state, x)
            x = A.apply(x)

    def test_cast(self) -> None:
        A = self.example().to(torch.float32)
        assert all(value.dtype == torch.float32 for value in A.tensors().values())
        assert A.apply(torch.ones(2, 3)).dtype == torch.float32
        assert A.to_dense().dtype == torch.float32
        assert A.to_dense(torch.float64).dtype == torch.float64

    def test_powers_are_elementwise_where_it_says_so(self) -> None:
        A = self.example(4)
        off_diagonal = A.to_dense() - torch.diag(torch.diag(A.to_dense()))
        assert A.elementwise == bool((off_diagonal == 0).all())

    def test_isfinite(self) -> None:
        A = self.example()
        assert A.isfinite()
        for number, value in enumerate(A.tensors().values()):
            broken = [each.clone() for each in A.tensors().values()]
            broken[number][0] = torch.inf * value.flatten()[0]
            assert not self.build(3, broken).isfinite()

    def test_repr_and_frozen(self) -> None:
        A = self.example()
        assert repr(A).startswith(f"{type(A).__name__}(size=3")
        assert "tensor(" not in repr(A)
        with pytest.raises(FrozenInstanceError):
            setattr(A, fields(A)[0].name, 0)
        assert copy.deepcopy(A).size == 3

    def test_is_taken_as_it_is(self) -> None:
        A = self.example()
        assert as_transition(A, 3) is A

    # The recurrence

    # Each structure runs this test as its own; no instance keeps anything between examples.
    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
    )
    @given(
        size=st.integers(1, 6),
        width=st.integers(1, 3),
        batch=st.integers(1, 3),
        length=st.one_of(st.integers(1, 40), st.integers(250, 300)),
        growth=st.sampled_from([0.0, 0.5, 0.99, 1.0, 1.05]),
        shared=st.booleans(),
        seed=st.integers(0, 2**32 - 1),
    )
    def test_every_mode_equals_the_reference(
        self,
        size: int,
        width: int,
        batch: int,
        length: int,
        growth: float,
        shared: bool,
        seed: int,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        A = self.build(size, self.tensors(size, growth, generator))
        B, inputs = normal(generator, size, width), normal(generator, batch, length, width)
        initial = normal(generator, size) if shared else normal(generator, batch, size)
        times = sorted({1, (length + 1) // 2, length})
        for mode in MODES:
            states = linear_recurrence(A, B, inputs, initial, mode)
            assert states.shape == (batch, length, size)
            dense = A.to_dense(torch.float64)
            assert rounding(states, dense, B, inputs, initial, times) < 1000, mode

    @pytest.mark.parametrize("growth", [1.0, 1.002])
    def test_ten_thousand_steps(self, growth: float) -> None:
        generator = torch.Generator().manual_seed(3)
        A = self.build(2, self.tensors(2, growth, generator))
        B, inputs, initial = (normal(generator, *s) for s in ((2, 2), (1, 10_000, 2), (1, 2)))
        exact = reference(A.to_dense(torch.float64), B, inputs, initial).astype(float)
        # The states of these A are as large as what sums up to them, to a factor of T.
        largest = np.maximum.accumulate(np.abs(exact).max(axis=(0, 2)))
        for mode in MODES:
            states = linear_recurrence(A, B, inputs, initial, mode).numpy()
            error = np.abs(states - exact).max(axis=(0, 2)) / largest
            assert error.max() < 1e-11, mode

    def test_stream_equals_batch(self) -> None:
        generator = torch.Generator().manual_seed(4)
        A = self.example(3, 1.0)
        B, inputs, initial = (normal(generator, *s) for s in ((3, 2), (4, 140, 2), (4, 3)))
        state = initial
        states = []
        for u in inputs.unbind(1):
            state = recurrence_step(A, B, u, state)
            states.append(state)
        for mode in MODES:
            batch = linear_recurrence(A, B, inputs, initial, mode)
            torch.testing.assert_close(batch, torch.stack(states, 1), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("mode", MODES)
    def test_one_in_a_batch_equals_it_alone(self, mode: Mode) -> None:
        generator = torch.Generator().manual_seed(5)
        A = self.example(3, 1.0)
        B, inputs, initial = (normal(generator, *s) for s in ((3, 2), (7, 140, 2), (7, 3)))
        together = linear_recurrence(A, B, inputs, initial, mode)
        alone = linear_recurrence(A, B, inputs[2:3], initial[2:3], mode)
        torch.testing.assert_close(alone, together[2:3], rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("length", [1, 3, 35])
    def test_gradients(self, mode: Mode, length: int) -> None:
        generator = torch.Generator().manual_seed(6)
        tensors = self.tensors(2, 0.9, generator)
        others = [normal(generator, *s) for s in ((2, 2), (2, length, 2), (2, 2))]
        weights = normal(generator, 2, length, 2)
        leaves = [value.requires_grad_() for value in [*tensors, *others]]

        def total(*values: Tensor) -> Tensor:
            A = self.build(2, list(values[:-3]))
            return (weights * linear_recurrence(A, *values[-3:], mode)).sum()

        assert torch.autograd.gradcheck(total, leaves, fast_mode=length > 3)

    @pytest.mark.parametrize("mode", MODES)
    def test_second_derivatives_and_a_shared_start(self, mode: Mode) -> None:
        generator = torch.Generator().manual_seed(7)
        tensors = self.tensors(2, 0.9, generator)
        others = [normal(generator, *s) for s in ((2, 1), (2, 18, 1), (2,))]
        leaves = [value.requires_grad_() for value in [*tensors, *others]]

        def total(*values: Tensor) -> Tensor:
            A = self.build(2, list(values[:-3]))
            return (linear_recurrence(A, *values[-3:], mode) ** 2).sum()

        assert torch.autograd.gradgradcheck(total, leaves, fast_mode=True)

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize(("batch", "length"), [(0, 5), (0, 40), (3, 0), (0, 0)])
    def test_empty(self, mode: Mode, batch: int, length: int) -> None:
        A = self.example()
        B = torch.ones(3, 2, dtype=torch.float64)
        inputs = torch.ones(batch, length, 2, dtype=torch.float64, requires_grad=True)
        states = linear_recurrence(A, B, inputs, torch.ones(batch, 3, dtype=torch.float64), mode)
        assert states.shape == (batch, length, 3)
        states.sum().backward()

    @pytest.mark.parametrize("mode", MODES)
    def test_float32_stays_float32(self, mode: Mode) -> None:
        generator = torch.Generator().manual_seed(8)
        A = self.example(3, 1.0)
        B, inputs, initial = (normal(generator, *s) for s in ((3, 2), (4, 300, 2), (4, 3)))
        double = linear_recurrence(A, B, inputs, initial, mode)
        single = linear_recurrence(
            A.to(torch.float32), B.float(), inputs.float(), initial.float(), mode
        )
        assert single.dtype == torch.float32
        error = (single - double).abs().max() / double.abs().max()
        assert error < 1e-5

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    def test_no_state_depends_on_later_inputs(self, mode: Mode, value: float) -> None:
        generator = torch.Generator().manual_seed(9)
        A = self.example(3, 1.0)
        B, inputs, initial = (normal(generator, *s) for s in ((3, 2), (2, 50, 2), (2, 3)))
        clean = linear_recurrence(A, B, inputs, initial, mode)
        inputs[0, 37] = value
        spoiled = linear_recurrence(A, B, inputs, initial, mode)
        torch.testing.assert_close(spoiled[0, :37], clean[0, :37])
        torch.testing.assert_close(spoiled[1], clean[1])
        assert not spoiled[0, 37:].isfinite().any()
