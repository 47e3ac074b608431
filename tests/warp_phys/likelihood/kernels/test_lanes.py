"""The compiled equations of lanes agree with the PyTorch code, which is tested against others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from warp_phys.likelihood.damped_step import Normal, damped_step_in_torch
from warp_phys.likelihood.kernels.lanes import damped_steps, secant_updates
from warp_phys.minimizing.curvature import updated_in_torch
from warp_phys.systems.compiling.compiler import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")

# The last one is enough for several threads.
COUNTS = (1, 7, 5_000)


def equations(count: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return positive definite matrices (n, D, D) of very different scales, and vectors (n, D)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, size + 3, size, generator=generator, dtype=torch.float64)
    rows = rows * 10.0 ** torch.arange(-3.0, size - 3.0).double()
    return rows.mT @ rows, torch.randn(count, size, generator=generator, dtype=torch.float64)


def both(
    matrix: Tensor, vector: Tensor, damping: Tensor, frozen: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    diagonal, lanes = matrix.diagonal(dim1=1, dim2=2), torch.arange(len(matrix))
    found = damped_steps(matrix, diagonal, vector, damping, frozen)
    assert found is not None
    normal = Normal(matrix, diagonal, vector, lanes, len(matrix), 0)
    return found, damped_step_in_torch(normal, damping, frozen)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("size", [1, 4, 9])
def test_steps(count: int, size: int) -> None:
    matrix, vector = equations(count, size)
    damping = torch.logspace(-12, 3, count, dtype=torch.float64)
    frozen = torch.zeros(count, size, dtype=torch.bool)
    frozen[::3, 0] = True
    (step, fine), (expected, good) = both(matrix, vector, damping, frozen)
    assert torch.equal(fine, good)
    assert fine.all()
    torch.testing.assert_close(step, expected, rtol=1e-8, atol=0.0)
    assert (step[::3, 0] == 0.0).all()


def test_steps_without_a_solution() -> None:
    matrix, vector = equations(5, 3)
    matrix[0] = -matrix[0]  # no unknown has a positive scale: all stay
    matrix[1, 0, 1] = matrix[1, 1, 0] = 1e6  # not positive definite
    matrix[2, 2, 0] = torch.nan
    matrix[3, :, 1] = matrix[3, 1] = 0.0  # nothing depends on the second unknown
    damping, frozen = torch.full((5,), 1e-3).double(), torch.zeros(5, 3, dtype=torch.bool)
    (step, fine), (expected, good) = both(matrix, vector, damping, frozen)
    assert fine.tolist() == good.tolist() == [True, False, False, True, True]
    torch.testing.assert_close(step, expected, rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("count", COUNTS)
def test_secant_updates(count: int) -> None:
    matrix, step = equations(count, 4)
    other, change = equations(count, 4, seed=1)
    step[0] = 0.0  # no step, no news
    curvature = 1e-2 * (other - other.mean())
    found = secant_updates(curvature, matrix, step, change)
    assert found is not None
    expected = updated_in_torch(curvature, matrix, step, change)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    assert torch.equal(found[0], curvature[0])


def test_secant_updates_that_are_not_finite_are_not_made() -> None:
    matrix, step = equations(2, 3)
    change = step.clone()
    matrix[0, 1, 1] = torch.inf
    curvature = torch.zeros_like(matrix)
    found = secant_updates(curvature, matrix, step, change)
    assert found is not None
    assert torch.equal(found[0], curvature[0])
    assert not torch.equal(found[1], curvature[1])
