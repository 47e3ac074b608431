"""Gradients that compiled code integrates along: right, of first order, and harmless."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.systems.problems import HARE, Driven, Explosion, leaf, many, needs_compiler
from warp_phys.systems import LotkaVolterra, Status, UsageError, VanDerPol, integrate

pytestmark = needs_compiler
METHODS = ["auto", "dop853", "rk45"]
TIMES = np.array([[0.0, 1.0, 2.0, 4.0], [0.5, 1.0, 3.0, np.nan], [0.0, 5.0, np.nan, np.nan]])


def hare() -> tuple[Tensor, Tensor]:
    states, parameters = many(3)
    return states.requires_grad_(), parameters.requires_grad_()


def gradients(method: str, rtol: float = 1e-9) -> tuple[Tensor, ...]:
    """Return those of a loss over the samples that are there."""
    states, parameters = hare()
    solution = integrate(
        LotkaVolterra(), TIMES, states, parameters, method=method, initial_time=-0.5, rtol=rtol
    )
    weights = torch.linspace(0.5, 1.5, 8, dtype=torch.float64).reshape(4, 2)
    loss = (weights * solution.states.nan_to_num(nan=0.0)).square().sum()
    return torch.autograd.grad(loss, (states, parameters))


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_torchdiffeq(method: str) -> None:
    for ours, expected in zip(gradients(method), gradients("torchdiffeq", 1e-11), strict=True):
        scale = expected.abs().amax()
        assert float((ours - expected).abs().max() / scale) < 1e-6


@pytest.mark.parametrize("method", ["dop853", "rk45"])
def test_gradients_are_those_of_differences(method: str) -> None:
    def states(initial: Tensor, parameters: Tensor) -> Tensor:
        return integrate(
            LotkaVolterra(), [0.0, 0.5, 2.0], initial, parameters, method=method, rtol=1e-12
        ).states

    initial = leaf([[1.0, 0.5], [2.0, 1.5]])
    parameters = leaf([[0.9, 0.5, 0.8, 0.4], [1.2, 0.3, 0.5, 0.6]])
    assert torch.autograd.gradcheck(states, (initial, parameters), rtol=1e-4)


@pytest.mark.parametrize("method", ["auto", "dop853"])
def test_gradients_under_inputs(method: str) -> None:
    """Of y = integral e^-rate (t - s) push(s) ds, on paper for a constant push."""
    state, rate = leaf([[3.0]]), leaf([[0.7]])
    solution = integrate(
        Driven(), [0.0, 2.0], state, rate, inputs=np.full((1, 2, 1), 2.0), method=method, rtol=1e-10
    )
    assert solution.engine == "compiled"
    decayed = np.exp(-1.4)
    by_rate = -2.0 * 3.0 * decayed + 2.0 * (2.0 * decayed / 0.7 - (1.0 - decayed) / 0.49)
    found = torch.autograd.grad(solution.states[0, -1, 0], (state, rate))
    np.testing.assert_allclose([float(each) for each in found], [decayed, by_rate], rtol=1e-8)


@pytest.mark.parametrize("wanted", ["states", "parameters"])
def test_gradients_by_some_of_the_arguments(wanted: str) -> None:
    states, parameters = hare()
    arguments = {"states": states, "parameters": parameters}
    for name, tensor in arguments.items():
        tensor.requires_grad_(name == wanted)
    solution = integrate(LotkaVolterra(), TIMES[0], states, parameters)
    (found,) = torch.autograd.grad(solution.states.sum(), arguments[wanted])
    assert found.shape == arguments[wanted].shape
    assert found.abs().min() > 0.0


@pytest.mark.parametrize("method", METHODS)
def test_gradients_leave_the_states_within_the_tolerance(method: str) -> None:
    """Where a derivative needs smaller steps than the states they are smaller, never larger."""
    states, parameters = hare()
    along = integrate(LotkaVolterra(), TIMES, states, parameters, method=method)
    with torch.no_grad():
        plain = integrate(LotkaVolterra(), TIMES, states, parameters, method=method)
    assert along.engine == plain.engine == "compiled"
    torch.testing.assert_close(
        along.states.detach(), plain.states, rtol=1e-7, atol=1e-9, equal_nan=True
    )
    assert (along.error_estimate <= 2.0 * plain.error_estimate).all()
    assert not along.error_estimate.requires_grad


def test_gradients_at_rest_are_controlled_by_themselves() -> None:
    """Where the states do not move their errors vanish; those of the derivatives would grow.

    At the equilibrium they solve a linear system, s' = J s + df/dp.
    """
    alpha, beta, gamma, delta = 0.5, 0.25, 0.5, 0.125
    parameters = leaf([[alpha, beta, gamma, delta]])
    rest = [[gamma / delta, alpha / beta]]
    solution = integrate(LotkaVolterra(), [0.0, 50.0], rest, parameters)
    (found,) = torch.autograd.grad(solution.states[0, 1, 0], parameters)
    prey, predator = rest[0]
    jacobian = torch.tensor([[0.0, -beta * prey], [delta * predator, 0.0]], dtype=torch.float64)
    push = torch.tensor(
        [[prey, -prey * predator, 0.0, 0.0], [0.0, 0.0, -predator, prey * predator]],
        dtype=torch.float64,
    )
    flow = torch.linalg.matrix_exp(50.0 * jacobian) - torch.eye(2, dtype=torch.float64)
    expected = (torch.linalg.solve(jacobian, flow) @ push)[0]
    torch.testing.assert_close(found[0], expected, rtol=1e-6, atol=1e-6)


def test_what_torch_func_transforms_is_refused() -> None:
    states, parameters = (value.detach() for value in hare())

    def total(values: Tensor) -> Tensor:
        return integrate(LotkaVolterra(), [0.0, 1.0], states, values).states.sum()

    with pytest.raises(UsageError, match=r"torch\.func .* method='rk4'"):
        torch.func.grad(total)(parameters)


@pytest.mark.parametrize("method", ["auto", "dop853"])
def test_what_failed_has_no_gradient_and_spoils_none(method: str) -> None:
    """One factor shared by all; even where the loss looks at what is not a number."""
    states, rates = leaf([[0.5], [20.0], [np.nan]]), leaf([[1.0]] * 3)
    solution = integrate(Explosion(), [0.0, 0.5, 1.0], states, rates, method=method)
    assert solution.status.tolist() == [0, 1, 3]
    by_state, by_rate = torch.autograd.grad(solution.states.square().sum(), (states, rates))
    assert by_state[1:].tolist() == by_rate[1:].tolist() == [[0.0], [0.0]]
    # y = y0 / (1 - y0 rate t): dy/drate = y0^2 t / (1 - y0 rate t)^2
    y = [0.5, 0.5 / 0.75, 0.5 / 0.5]
    expected = sum(2.0 * value * value**2 * t for value, t in zip(y, (0.0, 0.5, 1.0), strict=True))
    assert float(by_rate[0]) == pytest.approx(expected, rel=1e-6)


def test_second_derivatives_are_refused() -> None:
    states, parameters = hare()
    solution = integrate(LotkaVolterra(), TIMES[0], states, parameters)
    with pytest.raises(UsageError, match=r"use method='torchdiffeq' or 'rk4'"):
        torch.autograd.grad(solution.states.sum(), parameters, create_graph=True)


def times_wanted() -> dict[str, Any]:
    return {"times": leaf([0.0, 1.0, 2.0])}


def inputs_wanted() -> dict[str, Any]:
    return {"inputs": leaf([[[1.0], [2.0], [0.5]]])}


def input_times_wanted() -> dict[str, Any]:
    return {"input_times": leaf([0.0, 0.7, 2.0])}


def initial_time_wanted() -> dict[str, Any]:
    return {"initial_time": leaf(-0.5)}


@pytest.mark.parametrize(
    "change",
    [times_wanted, inputs_wanted, input_times_wanted, initial_time_wanted],
)
def test_other_gradients_are_left_to_torchdiffeq(change: Any) -> None:
    """Right by differences; and refused by name where the method was asked for."""
    kept = {"times": [0.0, 1.0, 2.0], "inputs": np.array([[[1.0], [2.0], [0.5]]])}
    changed = change()
    (name,) = changed
    (wanted,) = changed.values()

    def last(value: Any, method: str) -> Any:
        options = {**kept, name: value}
        times = options.pop("times")
        return integrate(Driven(), times, [[1.0]], [[0.5]], method=method, rtol=1e-10, **options)

    solution = last(wanted, "auto")
    assert solution.engine == "torchdiffeq"
    (found,) = torch.autograd.grad(solution.states[0, -1, 0], wanted)
    for place in range(wanted.numel()):
        near = [wanted.detach().clone() for _ in range(2)]
        for value, shift in zip(near, (-1e-5, 1e-5), strict=True):
            value.view(-1)[place] += shift
        ends = [float(last(value, "auto").states[0, -1, 0]) for value in near]
        slope = (ends[1] - ends[0]) / 2e-5
        assert float(found.reshape(-1)[place]) == pytest.approx(slope, abs=1e-5), place
    with pytest.raises(UsageError, match=r"'dop853' gives gradients of parameters and initial"):
        last(wanted, "dop853")


@pytest.mark.parametrize("method", ["auto", "rk4", "torchdiffeq"])
def test_the_initial_time_counts_where_the_first_sample_is_at_it(method: str) -> None:
    """Moving the start of y' = -rate y by s multiplies y by e^(rate s)."""
    start = leaf(0.0)
    states = integrate(
        Driven(),
        [0.0, 2.0],
        [[3.0]],
        [[0.7]],
        inputs=np.zeros((1, 2, 1)),
        initial_time=start,
        method=method,
        substeps=50,
    ).states[0, :, 0]
    found = [float(torch.autograd.grad(y, start, retain_graph=True)[0]) for y in states]
    np.testing.assert_allclose(found, [2.1, 2.1 * np.exp(-1.4)], rtol=1e-6)


@pytest.mark.parametrize("method", ["scipy", "scipy-stiff"])
def test_methods_without_gradients_say_so(method: str) -> None:
    with pytest.raises(UsageError, match=f"'{method}' gives no gradients.*'torchdiffeq' or 'rk4'"):
        integrate(LotkaVolterra(), [0.0, 1.0], [[30.0, 4.0]], leaf([HARE]), method=method)


def test_a_stiff_trajectory_takes_implicit_steps() -> None:
    """On the slow branch dy/dmu is that of y' = y / (mu (1 - y^2)); too few tries say so."""
    mu = leaf([[1.0], [1000.0]])
    solution = integrate(VanDerPol(), [0.0, 50.0], [[2.0, 0.0]] * 2, mu)
    assert solution.status.tolist() == [0, 0]
    (found,) = torch.autograd.grad(solution.states[1, 1, 0], mu)
    ends = [
        integrate(VanDerPol(), [0.0, 50.0], [[2.0, 0.0]], [[value]], rtol=1e-11).states[0, 1, 0]
        for value in (999.0, 1001.0)
    ]
    assert float(found[1, 0]) == pytest.approx(float(ends[1] - ends[0]) / 2.0, rel=1e-4)
    limited = integrate(VanDerPol(), [0.0, 50.0], [[2.0, 0.0]] * 2, mu, max_steps=400)
    assert limited.status.tolist() == [0, Status.TOO_MANY_STEPS]
