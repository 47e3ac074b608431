"""The learned part of the Hessian: its secant equation, its symmetry, what it refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from warp_phys.minimizing.curvature import updated_curvature


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def symmetric(seed: int, lanes: int, size: int) -> Tensor:
    half = draw(seed, lanes, size, size)
    return half + half.mT


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[:, :, None])[:, :, 0]


def along(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(dim=1)


def step_and_change(seed: int, lanes: int, size: int) -> tuple[Tensor, Tensor]:
    """Return steps along which the gradient grows, as near a minimum."""
    step, change = draw(seed, lanes, size), draw(seed + 1, lanes, size)
    return step, change * along(step, change).sign()[:, None]


def sizing(curvature: Tensor, matrix: Tensor, step: Tensor, change: Tensor) -> Tensor:
    """Return min(1, |s (y - A s)| / |s S s|)."""
    wanted = along(step, change - times(matrix, step)).abs()
    return (wanted / along(step, times(curvature, step)).abs()).clamp(max=1.0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@given(seed=st.integers(0, 10_000), size=st.integers(1, 6))
def test_secant_equation(scale: float, seed: int, size: int) -> None:
    """S+ s = y - A s, whether or not S is shrunk before the update."""
    curvature, matrix = scale * symmetric(seed, 5, size), symmetric(seed + 1, 5, size)
    step, change = step_and_change(seed + 2, 5, size)
    found = updated_curvature(curvature, matrix, step, change)
    wanted = change - times(matrix, step)
    # Rounding counts in what is summed up: by the slope y s it may be far more than the result.
    slope = along(change, step)
    rest = (1.0 + scale) * (1.0 + step.norm(dim=1)) * (1.0 + change.norm(dim=1)) ** 2
    error = (times(found, step) - wanted).norm(dim=1)
    assert (error <= 1e-11 * rest * (1.0 + 1.0 / slope) ** 2).all()
    torch.testing.assert_close(found, found.mT, rtol=1e-12, atol=1e-12 * float(found.abs().max()))


@pytest.mark.parametrize(("scale", "shrunk"), [(1e-6, False), (1e6, True)])
def test_formula(scale: float, shrunk: bool) -> None:
    """The update of Dennis, Gay and Welsch, written with outer products."""
    curvature, matrix = scale * symmetric(1, 3, 4), symmetric(2, 3, 4)
    step, change = step_and_change(3, 3, 4)
    size = sizing(curvature, matrix, step, change)
    assert ((size < 1.0) == shrunk).all()
    found = updated_curvature(curvature, matrix, step, change)
    for lane in range(3):
        s, y = step[lane], change[lane]
        shrunken = size[lane] * curvature[lane]
        missing = y - matrix[lane] @ s - shrunken @ s
        slope = y @ s
        expected = shrunken + (torch.outer(missing, y) + torch.outer(y, missing)) / slope
        expected = expected - (missing @ s) * torch.outer(y, y) / slope**2
        torch.testing.assert_close(found[lane], expected, rtol=1e-10, atol=1e-10)


def test_finds_the_second_part_of_a_hessian() -> None:
    """In one dimension a single step gives all that Gauss-Newton leaves out."""
    matrix, hessian = torch.full((1, 1, 1), 3.0).double(), 5.0
    step = torch.tensor([[0.1]], dtype=torch.float64)
    found = updated_curvature(torch.zeros_like(matrix), matrix, step, hessian * step)
    torch.testing.assert_close(found, torch.full_like(found, 2.0))


def test_what_is_known_already_stays() -> None:
    curvature, matrix = symmetric(1, 3, 4), 10.0 * torch.eye(4).double().expand(3, 4, 4)
    step = draw(2, 3, 4)
    change = times(matrix + curvature, step)
    found = updated_curvature(curvature, matrix, step, change)
    torch.testing.assert_close(found, curvature, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", ["uphill", "flat", "no step", "not a number", "infinite"])
def test_nothing_is_learned(case: str) -> None:
    """From a step that says nothing; its neighbours learn as ever."""
    curvature, matrix = symmetric(1, 3, 4), symmetric(2, 3, 4)
    step, change = step_and_change(3, 3, 4)
    expected = updated_curvature(curvature, matrix, step, change)
    if case == "uphill":
        change[1] *= -1.0
    elif case == "flat":
        change[1] -= step[1] * along(step, change)[1] / along(step, step)[1]
    elif case == "no step":
        step[1] = 0.0
    elif case == "not a number":
        change[1, 0] = torch.nan
    else:
        matrix[1, 0, 0] = torch.inf
    expected[1] = curvature[1]
    assert torch.equal(updated_curvature(curvature, matrix, step, change), expected)
