"""The oscillator's closed form: under-, critically and overdamped, and between."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from warp_phys.systems import DampedOscillator, integrate
from warp_phys.systems.catalog.mechanics._damped_oscillation import damped_oscillation


def exact(t: float, w: float, r: float, x0: float, v0: float) -> np.ndarray:
    """Return x(t), v(t) by the matrix exponential."""
    return expm(t * np.array([[0.0, 1.0], [-(w**2), -2.0 * r]])) @ [x0, v0]


@settings(max_examples=200, deadline=None)
@given(
    t=st.floats(0.0, 3.0),
    w=st.floats(0.1, 20.0),
    ratio=st.one_of(st.floats(0.0, 3.0), st.floats(0.999, 1.001), st.just(1.0)),
    x0=st.floats(-2.0, 2.0),
    v0=st.floats(-2.0, 2.0),
)
def test_every_regime_is_the_matrix_exponential(t, w, ratio, x0, v0) -> None:
    r = ratio * w
    tensors = [torch.tensor(value, dtype=torch.float64) for value in (t, x0, v0, w**2, r)]
    x, v = damped_oscillation(*tensors)
    np.testing.assert_allclose([x, v], exact(t, w, r, x0, v0), rtol=1e-10, atol=1e-11 * (1 + w))


@pytest.mark.parametrize("rate", [0.5, 9.0, 9.9999999, 10.0, 10.0000001, 11.0, 40.0])
def test_derivatives_pass_through_the_critical_damping(rate: float) -> None:
    times = torch.linspace(0.0, 2.0, 41, dtype=torch.float64)

    def states(parameters: torch.Tensor, initial: torch.Tensor) -> torch.Tensor:
        return integrate(DampedOscillator(), times, initial, parameters).states

    parameters = torch.tensor([[10.0, rate]], dtype=torch.float64, requires_grad=True)
    initial = torch.tensor([[1.0, -0.5]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(states, (parameters, initial))
    assert torch.autograd.gradgradcheck(states, (parameters, initial))


def test_strong_damping_over_long_times_stays_finite() -> None:
    """The slow exponent is w^2 / (r + sqrt(r^2 - w^2)), here 5e-4; the fast one underflows."""
    solution = integrate(DampedOscillator(), [0.0, 1.0, 1e4], [[1.0, 0.0]], [[1.0, 1e3]])
    expected = np.exp(-1e4 * 1.0 / (1e3 + np.sqrt(1e6 - 1.0)))
    assert float(solution.states[0, 2, 0]) == pytest.approx(expected, rel=1e-6)


def test_single_precision_is_accurate_too() -> None:
    times = np.linspace(0.0, 2.0, 100)
    for rate in (0.3, 9.99, 10.0, 10.01, 60.0):
        arguments = times, np.array([[1.0, 0.0]]), np.array([[10.0, rate]])
        double = integrate(DampedOscillator(), *arguments).states
        single = integrate(DampedOscillator(), *(a.astype(np.float32) for a in arguments)).states
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)
