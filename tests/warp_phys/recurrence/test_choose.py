"""Mode "auto" takes other ways for wider states and without a compiler: all of them are right."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.warp_phys.recurrence.extended_precision import rounding
from tests.warp_phys.recurrence.transitions.transition_contract import normal
from warp_phys.recurrence.linear_recurrence import linear_recurrence
from warp_phys.recurrence.transitions.complex_diagonal import ComplexDiagonal
from warp_phys.recurrence.transitions.dense import Dense
from warp_phys.recurrence.transitions.diagonal import Diagonal
from warp_phys.recurrence.transitions.diagonal_low_rank import DiagonalPlusLowRank
from warp_phys.recurrence.transitions.identity import Identity
from warp_phys.recurrence.transitions.identity_low_rank import IdentityPlusLowRank
from warp_phys.recurrence.transitions.transition import Transition

Build = Callable[..., Transition]


def diagonal(size: int, generator: torch.Generator) -> list[Tensor]:
    return [1 - 0.3 * torch.rand(size, generator=generator).double()]


def dense(size: int, generator: torch.Generator) -> list[Tensor]:
    return [0.8 * normal(generator, size, size) / size**0.5]


def low_rank(size: int, generator: torch.Generator) -> list[Tensor]:
    factors = 0.4 * normal(generator, 2, size, 3) / size**0.5
    return [*diagonal(size, generator), *factors]


def turning(size: int, generator: torch.Generator) -> list[Tensor]:
    angle = 3 * torch.rand(size // 2, generator=generator).double()
    real = torch.cat([angle.cos(), angle.new_full((size % 2,), 0.5)])
    return [0.98 * real, 0.98 * angle.sin()]


def factors(size: int, generator: torch.Generator) -> list[Tensor]:
    return [*(0.4 * normal(generator, 2, size, 3) / size**0.5)]


STRUCTURES: dict[str, tuple[Build, Callable[[int, torch.Generator], list[Tensor]]]] = {
    "diagonal": (Diagonal, diagonal),
    "dense": (Dense, dense),
    "low_rank": (DiagonalPlusLowRank, low_rank),
    "complex": (ComplexDiagonal, turning),
    "identity_low_rank": (IdentityPlusLowRank, factors),
}


@pytest.fixture(params=["compiled", "no compiler"])
def engine(request: pytest.FixtureRequest, without_compiler: Callable[[], None]) -> str:
    if request.param == "no compiler":
        without_compiler()
    return str(request.param)


def problem(name: str, shape: tuple[int, int, int, int], seed: int = 0) -> list[Tensor]:
    """The tensors of A, B, inputs and initial for (N, T, D, d)."""
    batch, length, size, width = shape
    generator = torch.Generator().manual_seed(seed)
    rest = ((size, width), (batch, length, width), (batch, size))
    tensors = STRUCTURES[name][1](size, generator)
    return [*tensors, *(normal(generator, *one) for one in rest)]


def states(name: str, tensors: list[Tensor], mode: str = "auto") -> Tensor:
    A = STRUCTURES[name][0](*tensors[:-3])
    return linear_recurrence(A, *tensors[-3:], mode)


@pytest.mark.parametrize("name", STRUCTURES)
class TestEngines:
    # The environment is set once for all examples, which is what is wanted.
    @settings(
        max_examples=8,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(
        shape=st.tuples(
            st.integers(1, 5), st.integers(1, 140), st.integers(1, 40), st.integers(1, 5)
        ),
        seed=st.integers(0, 2**31),
    )
    def test_equal_to_extended_precision(
        self, engine: str, name: str, shape: tuple[int, int, int, int], seed: int
    ) -> None:
        tensors = problem(name, shape, seed)
        found = states(name, tensors)
        assert found.shape == shape[:3]
        A = STRUCTURES[name][0](*tensors[:-3]).to_dense()
        times = sorted({1, (shape[1] + 1) // 2, shape[1]})
        assert rounding(found, A, *tensors[-3:], times) * 2.3e-16 < 1e-12

    @pytest.mark.parametrize(
        "shape", [(3, 150, 17, 2), (2, 40, 33, 1), (20, 7, 64, 9), (3, 40, 33, 20), (5, 18, 6, 30)]
    )
    def test_gradients_equal_the_reference(
        self, engine: str, name: str, shape: tuple[int, int, int, int]
    ) -> None:
        leaves = [value.requires_grad_() for value in problem(name, shape)]
        weights = normal(torch.Generator().manual_seed(1), *shape[:3])

        def gradients(mode: str) -> tuple[Tensor, ...]:
            return torch.autograd.grad((weights * states(name, leaves, mode)).sum(), leaves)

        for found, expected in zip(gradients("auto"), gradients("recurrent"), strict=True):
            scale = expected.abs().max()
            assert (found - expected).abs().max() <= 1e-11 * scale

    def test_gradcheck_of_first_and_second_derivatives(self, engine: str, name: str) -> None:
        leaves = [value.requires_grad_() for value in problem(name, (2, 9, 18, 2))]

        def total(*values: Tensor) -> Tensor:
            return (states(name, list(values)) ** 2).sum()

        assert torch.autograd.gradcheck(total, leaves, fast_mode=True)
        assert torch.autograd.gradgradcheck(total, leaves, fast_mode=True)

    def test_float32_stays_close(self, engine: str, name: str) -> None:
        tensors = problem(name, (4, 400, 20, 3))
        single = states(name, [value.float() for value in tensors])
        double = states(name, tensors)
        assert single.dtype == torch.float32
        assert (single - double).abs().max() < 2e-5 * double.abs().max()

    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    def test_nothing_reaches_earlier_times_or_other_sequences(
        self, engine: str, name: str, value: float
    ) -> None:
        tensors = problem(name, (3, 200, 18, 2))
        clean = states(name, tensors)
        tensors[-2][1, 150] = value
        spoiled = states(name, tensors)
        torch.testing.assert_close(spoiled[[0, 2]], clean[[0, 2]])
        torch.testing.assert_close(spoiled[1, :150], clean[1, :150])
        assert not spoiled[1, 150:].isfinite().any()

    def test_one_in_a_batch_equals_it_alone(self, engine: str, name: str) -> None:
        tensors = problem(name, (7, 140, 20, 2))
        together = states(name, tensors)
        alone = states(name, [*tensors[:-2], tensors[-2][2:3], tensors[-1][2:3]])
        torch.testing.assert_close(alone, together[2:3], rtol=1e-12, atol=1e-12)

    def test_odd_strides_and_a_shared_start(self, engine: str, name: str) -> None:
        tensors = problem(name, (5, 30, 19, 3))
        A = STRUCTURES[name][0](*tensors[:-3])
        B, inputs, initial = tensors[-3:]
        odd = linear_recurrence(
            A,
            B.mT.contiguous().mT,
            inputs.permute(2, 1, 0).contiguous().permute(2, 1, 0),
            initial[0],
        )
        usual = linear_recurrence(A, B, inputs, initial[:1].repeat(5, 1))
        torch.testing.assert_close(odd, usual, rtol=1e-12, atol=1e-12)

    def test_transformed_by_torch_func(self, engine: str, name: str) -> None:
        tensors = problem(name, (2, 12, 18, 2))
        tangents = [torch.ones_like(value) for value in tensors]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            _, slope = torch.func.jvp(
                lambda *values: states(name, list(values)), tuple(tensors), tuple(tangents)
            )
        step = 1e-6
        ahead, behind = (
            states(name, [v + s * t for v, t in zip(tensors, tangents, strict=True)])
            for s in (step, -step)
        )
        torch.testing.assert_close(slope, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("growth", [1.001, 1.05])
def test_low_rank_holds_back_a_growing_diagonal(growth: float) -> None:
    # The diagonal alone would grow; with the factors A is a contraction.
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(normal(generator, 20, 2))[0]
    values = torch.full((20,), 0.5).double()
    values[:2] = growth
    left = torch.zeros(20, 2).double()
    left[:2] = -torch.eye(2).double() * (growth - 0.9)
    right = torch.zeros(20, 2).double()
    right[:2] = torch.eye(2).double()
    A = DiagonalPlusLowRank(values, left, right)
    B = turn
    inputs, initial = normal(generator, 2, 5000, 2), normal(generator, 2, 20)
    found = linear_recurrence(A, B, inputs, initial)
    exact = linear_recurrence(A, B, inputs, initial, "recurrent")
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-12)


def test_a_million_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.tensor([1.0, 0.999, -0.9, 0.5]).double()
    B, inputs, initial = (normal(generator, *s) for s in ((4, 1), (1, 1_000_000, 1), (1, 4)))
    double = linear_recurrence(a, B, inputs, initial)
    single = linear_recurrence(a.float(), B.float(), inputs.float(), initial.float())
    assert (single - double).abs().amax(1).div(double.abs().amax(1)).max() < 1e-4
    drive = linear_recurrence(Identity(4), B, inputs, initial)
    torch.testing.assert_close(double[..., 0], drive[..., 0], rtol=1e-9, atol=1e-9)
