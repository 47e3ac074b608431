"""The implicit steps: observed order, damping, and stiff problems with published answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.systems.problems import RATE, Driven, observed_order, problem
from warp_phys.systems import Pendulum, Robertson, State, System, VanDerPol, integrate
from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.dynamics.stepping.rosenbrock import implicit_interpolant, take_implicit_step
from warp_phys.systems.dynamics.stepping.rosenbrock_tableau import RODAS5P_TABLEAU
from warp_phys.systems.dynamics.stepping.runge_kutta import Step, evaluate


class Tracking(System):
    """y' = -rate (y - cos t), which comes to follow the cosine."""

    states = (State("y", "1"),)
    parameters = (RATE,)

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        return (-p.rate * (y[0] - torch.cos(t)),)


def tracking(rate: float, times: np.ndarray) -> np.ndarray:
    """Return the solution of `Tracking` that has no transient."""
    return (rate**2 * np.cos(times) + rate * np.sin(times)) / (rate**2 + 1.0)


def step(given: Problem, t: Tensor, y: Tensor, h: Tensor) -> Step:
    drive = given.drive(given.first_piece())
    return take_implicit_step(given, RODAS5P_TABLEAU, drive, t, y, given.derivative(t, y, drive), h)


def end_of_equal_steps(given: Problem, count: int) -> Tensor:
    """Return the states (S,) at the end."""
    t, y, h = given.start, given.initial, (given.end - given.start) / count
    for _ in range(count):
        t, y = t + h, step(given, t, y, h).y
    return y[:, 0]


def pendulum(end: float) -> Problem:
    return problem(Pendulum(), [0.0, end], [[1.2, 0.4]], [[0.9, 0.2, 9.81]])


def test_steps_have_order_five() -> None:
    given, counts = pendulum(2.0), [40, 55, 75, 100]
    exact = integrate(
        Pendulum(), [0.0, 2.0], given.initial.T, given.parameters.T, rtol=1e-13, atol=1e-15
    ).states[0, -1]
    errors = [float((end_of_equal_steps(given, count) - exact).abs().max()) for count in counts]
    assert observed_order([1.0 / count for count in counts], errors) == pytest.approx(5.0, abs=0.25)


def test_steps_have_order_five_where_time_enters() -> None:
    """Without the derivative by time the order would be one."""
    rate, counts = 50.0, [30, 40, 55, 75]
    start = tracking(rate, np.zeros(1))
    given = problem(Tracking(), [0.0, 1.0], start[None], [[rate]])
    exact = float(tracking(rate, np.ones(1))[0])
    errors = [abs(float(end_of_equal_steps(given, count)) - exact) for count in counts]
    assert observed_order([1.0 / count for count in counts], errors) == pytest.approx(5.0, abs=0.25)


def test_an_input_that_rises_counts_as_time() -> None:
    """With rate 0, y is the integral of the input: a parabola, which has no error."""
    given = problem(Driven(), [0.0, 2.0], [[1.0]], [[0.0]], inputs=np.array([[[1.0], [5.0]]]))
    assert float(end_of_equal_steps(given, 1)) == pytest.approx(7.0, rel=1e-13)


def test_the_interpolant_has_local_order_five() -> None:
    given, sizes = pendulum(2.0), [0.08, 0.06, 0.045, 0.03]
    parts = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    errors = []
    for size in sizes:
        h = torch.tensor([size], dtype=torch.float64)
        taken = step(given, given.start, given.initial, h)
        coefficients = implicit_interpolant(RODAS5P_TABLEAU, given.initial, taken)
        inside = evaluate(given.initial, coefficients, parts)
        exact = integrate(
            Pendulum(),
            parts * size,
            given.initial.T,
            given.parameters.T,
            initial_time=0.0,
            rtol=1e-13,
            atol=1e-15,
        ).states[0]
        errors.append(float((inside.T - exact).abs().max()))
    assert observed_order(sizes, errors) == pytest.approx(5.0, abs=0.25)


@pytest.mark.parametrize("product", [1e3, 1e6, 1e12])
def test_what_decays_at_once_is_damped_at_once(product: float) -> None:
    """L-stability: the factor of a step falls as the inverse of step size times rate."""
    given = problem(Driven(), [0.0, 1.0], [[1.0]], [[1.0]], inputs=np.zeros((1, 2, 1)))
    h = torch.tensor([product], dtype=torch.float64)
    assert abs(float(step(given, given.start, given.initial, h).y)) < 20.0 / product


def test_a_step_of_no_length_stays() -> None:
    given = pendulum(1.0)
    taken = step(given, given.start, given.initial, torch.zeros(1, dtype=torch.float64))
    assert taken.y.isfinite().all()


def test_long_steps_follow_a_slow_solution_of_a_stiff_system() -> None:
    """At their ends; between them less well, as the error estimate says."""
    rate, times = 1e6, np.linspace(0.0, 10.0, 41)
    start = tracking(rate, times[:1])[None]
    options = {"method": "rodas5p", "max_steps": 400}
    whole = integrate(Tracking(), times, start, [[rate]], **options)
    assert whole.converged.all()
    error = np.abs(whole.states[0, :, 0].numpy() - tracking(rate, times)).max()
    assert error < 4.0 * float(whole.error_estimate) < 1e-4
    end = integrate(Tracking(), times[[0, -1]], start, [[rate]], **options)
    np.testing.assert_allclose(end.states[0, -1], tracking(rate, times[-1:]), rtol=1e-9)


@pytest.mark.parametrize("method", ["rodas5p", "auto"])
def test_robertson_has_the_published_values(method: str) -> None:
    """E. Hairer, G. Wanner, Solving ODEs II, sec. IV.10; at t = 40 as by the SUNDIALS examples."""
    published = [0.7158270687193941, 9.185534764557337e-6, 0.2841637457458413]
    solution = integrate(
        Robertson(),
        [0.0, 40.0],
        [[1.0, 0.0, 0.0]],
        [[0.04, 3e7, 1e4]],
        method=method,
        rtol=1e-9,
        atol=1e-14,
    )
    assert solution.converged.all()
    np.testing.assert_allclose(solution.states[0, -1], published, rtol=1e-8)
    assert float(solution.error_estimate) < 1e-7


def test_a_stiff_relaxation_oscillation_has_the_published_values() -> None:
    """Over sudden turns, between which mu = 1000 is stiff.

    F. Mazzia, C. Magherini, Test Set for IVP Solvers, release 2.4, vdpol, with time over mu.
    """
    for method in ("auto", "rodas5p"):
        solution = integrate(
            VanDerPol(), [0.0, 2000.0], [[2.0, 0.0]], [[1000.0]], method=method, rtol=1e-9
        )
        assert solution.converged.all()
        published = [1.706167732170483, -0.8928097010247975e-3]
        np.testing.assert_allclose(solution.states[0, -1], published, rtol=1e-6)
