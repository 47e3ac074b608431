"""The weak form: running integrals of sampled values, on any ascending times."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from warp_phys.models.regression.weak_form import (
    POINTS,
    compress,
    first_increments,
    increasing,
    increments,
    integral_weights,
    later_increments,
)

Polynomial = np.polynomial.Polynomial

STEPS = st.floats(0.05, 1.0)
CUBICS = st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=4).map(Polynomial)


@st.composite
def grids(draw: st.DrawFn, least: int = 4, most: int = 12) -> Tensor:
    """Return (1, T) ascending times of uneven steps, wherever they start."""
    steps = draw(st.lists(STEPS, min_size=least, max_size=most))
    start = draw(st.floats(-100.0, 100.0))
    return start + torch.tensor(steps, dtype=torch.float64).cumsum(0)[None]


def centered(curve: Polynomial, times: Tensor) -> tuple[Tensor, Polynomial, float]:
    """Return values (1, T, 1) of a curve about the first time, its integral, and its scale."""
    origin = float(times[0, 0])
    values = torch.as_tensor(curve(times.numpy() - origin)).unsqueeze(-1)
    length = float(times[0, -1] - origin)
    scale = Polynomial(np.abs(curve.coef)).integ()(length)
    return values, Polynomial(curve.integ().coef), max(scale, 1e-300)


@given(grids(least=POINTS, most=POINTS), CUBICS, st.integers(0, POINTS - 1))
def test_weights_integrate_cubics_exactly(times: Tensor, curve: Polynomial, begin: int) -> None:
    values, integral, scale = centered(curve, times)
    weights = integral_weights(times, times[:, begin])
    elapsed = (times - times[:, :1])[0].numpy()
    expected = integral(elapsed[-1]) - integral(elapsed[begin])
    assert abs(float((weights * values[..., 0]).sum()) - expected) < 1e-10 * scale


@given(grids(least=POINTS, most=POINTS), st.integers(2, POINTS))
def test_weights_are_the_integrals_of_the_basis(times: Tensor, count: int) -> None:
    nodes = times[:, :count]
    found = integral_weights(nodes, nodes[:, -2])[0].numpy()
    exact = [Fraction(float(node)) for node in nodes[0]]
    for place, node in enumerate(exact):
        basis = [Fraction(1)]  # coefficients, that of the constant first
        for other in exact[:place] + exact[place + 1 :]:
            shifted, scaled = [Fraction(0), *basis], [other * part for part in basis]
            basis = [
                (one - two) / (node - other)
                for one, two in zip(shifted, [*scaled, Fraction(0)], strict=True)
            ]
        expected = sum(
            part * (exact[-1] ** (power + 1) - exact[-2] ** (power + 1)) / (power + 1)
            for power, part in enumerate(basis)
        )
        assert abs(found[place] - float(expected)) <= 1e-9 * np.abs(found).max()


@given(grids(), CUBICS)
def test_running_integral_of_a_cubic_is_exact_from_the_fourth_sample_on(
    times: Tensor, curve: Polynomial
) -> None:
    values, integral, scale = centered(curve, times)
    total = increments(times, values).cumsum(dim=1)[0, :, 0].numpy()
    expected = integral((times - times[:, :1])[0].numpy())
    assert total[0] == 0.0
    np.testing.assert_allclose(total[3:], expected[3:], rtol=0.0, atol=1e-10 * scale)
    # Before, the polynomial through the samples so far is all that they tell.
    if curve.degree() <= 1:
        np.testing.assert_allclose(total, expected, rtol=0.0, atol=1e-10 * scale)


@given(grids(least=5), st.data())
def test_an_increment_depends_on_the_last_four_samples_alone(times: Tensor, data: st.DataObject):
    place = data.draw(st.integers(0, times.shape[1] - 1))
    values = torch.sin(times).unsqueeze(-1)
    changed = values.clone()
    changed[0, place] += 1.0
    felt = (increments(times, changed) != increments(times, values))[0, :, 0].nonzero().flatten()
    assert felt.min() >= max(place, 1)
    assert felt.max() <= max(place, 1) + POINTS - 1


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5, 9])
def test_short_records(samples: int) -> None:
    times = torch.linspace(0.0, 2.0, 9, dtype=torch.float64)[None, :samples]
    values = torch.stack([torch.ones_like(times), times], dim=-1)
    total = increments(times, values).cumsum(dim=1)
    torch.testing.assert_close(total[..., 0], times)
    torch.testing.assert_close(total[..., 1], 0.5 * times.square())


@pytest.mark.parametrize("uneven", [False, True])
def test_error_falls_with_the_fourth_power_of_the_step(uneven: bool) -> None:
    counts = np.array([40, 80, 160, 320, 640])
    errors = []
    for count in counts:
        part = torch.linspace(0.0, 1.0, int(count) + 1, dtype=torch.float64)
        times = (4.0 * (part + (0.3 * part * (1.0 - part) if uneven else 0.0)))[None]
        values = torch.exp(torch.sin(2.0 * times)) * 2.0 * torch.cos(2.0 * times)
        total = increments(times, values.unsqueeze(-1)).cumsum(dim=1)[0, :, 0]
        errors.append(float((total - torch.exp(torch.sin(2.0 * times[0])) + 1.0).abs().max()))
    order = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert order == pytest.approx(4.0, abs=0.25)


def test_parts_make_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    times = torch.rand(3, 9, generator=generator, dtype=torch.float64).cumsum(dim=1)
    values = torch.randn(3, 9, 2, generator=generator, dtype=torch.float64)
    first = first_increments(times[:, :POINTS], values[:, :POINTS])
    later = later_increments(times[:, 1:], values[:, 1:])
    assert torch.equal(increments(times, values), torch.cat([first, later], dim=1))


@given(hnp.arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 8))))
def test_compress_moves_what_is_valid_to_the_front(flags: np.ndarray) -> None:
    valid = torch.as_tensor(flags)
    numbers = torch.arange(float(flags.size)).view(flags.shape).double()
    count, (moved, wide) = compress(valid, numbers, numbers.unsqueeze(-1) * torch.ones(2))
    assert torch.equal(count, valid.long().cumsum(dim=1))
    for row, found in enumerate(count[:, -1].tolist()):
        assert torch.equal(moved[row, :found], numbers[row][valid[row]])
        assert torch.equal(wide[row, :found, 1], numbers[row][valid[row]])


def test_times_behind_the_valid_ones_go_on() -> None:
    times = torch.tensor([[0.0, 0.5, 3.0, torch.nan], [2.0, 1.0, torch.nan, torch.nan]])
    found = increasing(times, torch.tensor([3, 1]))
    assert found.tolist() == [[0.0, 0.5, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0]]
    assert increasing(times, torch.tensor([0, 4]))[0].diff().min() > 0
