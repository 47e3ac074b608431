"""Gradients through trajectories: right, and not spoiled by a failing neighbor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.systems.problems import HARE, Explosion, leaf
from warp_phys.systems import (
    DampedOscillator,
    LotkaVolterra,
    Pendulum,
    UsageError,
    integrate,
)

DIFFERENTIABLE = ["rk4", "torchdiffeq"]


@pytest.mark.parametrize("method", DIFFERENTIABLE)
def test_gradients_are_those_of_the_closed_form(method: str) -> None:
    times = np.array([[0.0, 0.1, 0.25, 0.3], [0.2, 0.3, 0.6, np.nan]])

    def gradients(chosen: str) -> tuple[torch.Tensor, ...]:
        states, parameters = leaf([[1.0, 0.0], [0.5, -3.0]]), leaf([[12.0, 1.0], [20.0, 3.0]])
        start = leaf([-0.1, 0.0])
        solution = integrate(
            DampedOscillator(),
            times,
            states,
            parameters,
            initial_time=start,
            method=chosen,
            substeps=80,
        )
        total = solution.states.nan_to_num(nan=0.0).square().sum()
        return torch.autograd.grad(total, (states, parameters, start))

    for ours, exact in zip(gradients(method), gradients("solution"), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-5, atol=1e-7)


def test_auto_is_differentiable_when_asked_to_be() -> None:
    parameters = leaf([HARE])
    solution = integrate(
        LotkaVolterra(), [0.0, 2.0, 4.0], torch.tensor([[30.0, 4.0]]).double(), parameters
    )
    assert solution.states.requires_grad
    assert not solution.error_estimate.requires_grad
    assert float(solution.error_estimate) < 1e-6
    with torch.no_grad():
        plain = integrate(LotkaVolterra(), [0.0, 2.0, 4.0], solution.states[:, 0], parameters)
    torch.testing.assert_close(solution.states, plain.states, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", DIFFERENTIABLE)
def test_a_failing_trajectory_leaves_the_others_gradients_alone(method: str) -> None:
    """One factor shared by all, as the weights of a network are."""
    factor = leaf(1.0)
    rates = factor * torch.ones(3, 1, dtype=torch.float64)
    states = torch.tensor([[0.5], [20.0], [torch.nan]], dtype=torch.float64)
    solution = integrate(Explosion(), [0.0, 0.5, 1.0], states, rates, method=method, substeps=50)
    assert solution.status.tolist() == [0, 1, 3]
    solution.states[solution.converged].sum().backward()
    # y = y0 / (1 - y0 rate t): dy/drate = y0^2 t / (1 - y0 rate t)^2
    expected = sum(0.25 * t / (1.0 - 0.5 * t) ** 2 for t in (0.5, 1.0))
    assert factor.grad is not None
    assert float(factor.grad) == pytest.approx(expected, rel=1e-6)


def test_no_neighbor_hides_behind_the_batch() -> None:
    """A lively trajectory among a thousand at rest keeps its accuracy."""
    states = torch.zeros(1001, 2, dtype=torch.float64)
    states[500] = torch.tensor([2.5, 3.0])
    parameters = torch.tensor([1.0, 0.1, 9.81], dtype=torch.float64).expand(1001, 3)
    times = [0.0, 1.0, 3.0]
    solution = integrate(Pendulum(), times, states, parameters, method="torchdiffeq", rtol=1e-6)
    alone = integrate(Pendulum(), times, states[500:501], parameters[:1], rtol=1e-11)
    torch.testing.assert_close(solution.states[500], alone.states[0], rtol=1e-5, atol=1e-5)


def along(method: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a directional derivative of a last state, carried forward and pulled backward."""
    states = torch.tensor([[30.0, 4.0]], dtype=torch.float64)
    rates = torch.tensor([HARE], dtype=torch.float64)
    direction = torch.tensor([[1.0, 0.1, -1.0, 0.05]], dtype=torch.float64)

    def last(parameters: torch.Tensor) -> torch.Tensor:
        solution = integrate(LotkaVolterra(), [0.0, 1.0, 2.0], states, parameters, method=method)
        return solution.states[0, -1]

    forward = torch.func.jvp(last, (rates,), (direction,))[1]
    jacobian = torch.autograd.functional.jacobian(last, rates)
    return forward, (jacobian * direction).sum(dim=(1, 2))


def test_forward_derivatives_agree_with_backward_ones() -> None:
    forward, backward = along("rk4")
    torch.testing.assert_close(forward, backward, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", ["auto", "dop853", "rodas5p", "scipy", "torchdiffeq"])
def test_forward_derivatives_are_not_dropped_silently(method: str) -> None:
    with pytest.raises(UsageError, match=r"(no forward derivatives|torch\.func).*'rk4'"):
        along(method)
