"""Observed order of the explicit steps, of their interpolants and of the differentiable method."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import DOP853, RK45, solve_ivp

from tests.systems.problems import HARE, Explosion, observed_order, problem
from warp_phys.systems import LotkaVolterra, Pendulum, integrate
from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.dynamics.stepping.runge_kutta import evaluate, interpolant, take_step
from warp_phys.systems.dynamics.stepping.tableaus import DOP853_TABLEAU, RK45_TABLEAU

START, PARAMETERS = [[1.2, 0.4]], [[0.9, 0.2, 9.81]]
END = 2.0


TABLEAUS = {tableau.name: tableau for tableau in (RK45_TABLEAU, DOP853_TABLEAU)}


def pendulum() -> Problem:
    return problem(Pendulum(), [0.0, END], START, PARAMETERS)


def reference(times: np.ndarray) -> np.ndarray:
    """Return the states (S, T) by SciPy."""
    length, damping, g = PARAMETERS[0]
    return solve_ivp(
        lambda t, y: [y[1], -g / length * np.sin(y[0]) - damping * y[1]],
        (0.0, END),
        START[0],
        method="DOP853",
        t_eval=times,
        rtol=3e-14,
        atol=1e-15,
    ).y


def errors_of_equal_steps(
    given: Problem, name: str, counts: list[int], expected: np.ndarray
) -> list[float]:
    """Return the error at the end after each number of equal steps."""
    errors = []
    for count in counts:
        h = given.end / count
        t, y = given.start, given.initial
        f = given.derivative(t, y, None)
        for _ in range(count):
            step = take_step(given, TABLEAUS[name], None, t, y, f, h)
            t, y, f = t + h, step.y, step.f
        errors.append(float(np.abs(y[:, 0].numpy() - expected).max()))
    return errors


def test_steps_of_rk45_have_order_five() -> None:
    counts = [135, 200, 300, 450]
    errors = errors_of_equal_steps(pendulum(), "rk45", counts, reference(np.array([END]))[:, 0])
    assert observed_order([1.0 / count for count in counts], errors) == pytest.approx(5.0, abs=0.25)


def test_steps_of_dop853_have_order_eight() -> None:
    """On y' = y^2: for the pendulum, terms of higher order dominate down to rounding."""
    given = problem(Explosion(), [0.0, 0.7], [[1.0]], [[1.0]])
    counts = [10, 13, 17, 22]
    errors = errors_of_equal_steps(given, "dop853", counts, np.array([1.0 / 0.3]))
    assert observed_order([1.0 / count for count in counts], errors) == pytest.approx(8.0, abs=0.25)


@pytest.mark.parametrize(
    ("name", "sizes", "order"),
    [("rk45", [0.05, 0.035, 0.025, 0.0175], 5), ("dop853", [0.16, 0.12, 0.1, 0.08], 8)],
)
def test_interpolants_have_their_local_order(name: str, sizes: list[float], order: int) -> None:
    given = pendulum()
    begin = given.start, given.initial
    f = given.derivative(given.start, given.initial, None)
    parts = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    errors = []
    for size in sizes:
        h = torch.tensor([size], dtype=torch.float64)
        step = take_step(given, TABLEAUS[name], None, *begin, f, h)
        coefficients = interpolant(given, TABLEAUS[name], None, *begin, h, step)
        inside = evaluate(given.initial, coefficients, parts)
        errors.append(np.abs(inside.numpy() - reference((parts * size).numpy())).max())
    assert observed_order(sizes, errors) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize(("name", "solver"), [("rk45", RK45), ("dop853", DOP853)])
def test_a_step_is_the_step_of_scipy(name: str, solver) -> None:
    length, damping, g = PARAMETERS[0]
    scipy = solver(
        lambda t, y: np.array([y[1], -g / length * np.sin(y[0]) - damping * y[1]]),
        0.0,
        START[0],
        END,
        first_step=0.1,
        rtol=1e-3,
        atol=1e-3,
    )
    scipy.step()
    given = pendulum()
    begin = given.start, given.initial
    h = torch.tensor([0.1], dtype=torch.float64)
    f = given.derivative(given.start, given.initial, None)
    step = take_step(given, TABLEAUS[name], None, *begin, f, h)
    np.testing.assert_allclose(step.y[:, 0], scipy.y, rtol=1e-14)
    coefficients = interpolant(given, TABLEAUS[name], None, *begin, h, step)
    middle = evaluate(given.initial, coefficients, torch.tensor([0.4], dtype=torch.float64))
    # Terms of the angle's size, 1, cancel in the velocity; how they are rounded is up to the CPU.
    np.testing.assert_allclose(middle[:, 0], scipy.dense_output()(0.04), rtol=1e-13, atol=1e-14)


def test_rk4_has_order_four() -> None:
    times = np.linspace(0.0, END, 6)
    expected = reference(times).T
    substeps = [8, 12, 18, 27]
    errors = [
        np.abs(
            integrate(Pendulum(), times, START, PARAMETERS, method="rk4", substeps=count)
            .states[0]
            .numpy()
            - expected
        ).max()
        for count in substeps
    ]
    assert observed_order([1.0 / count for count in substeps], errors) == pytest.approx(
        4.0, abs=0.25
    )


@pytest.mark.parametrize(
    "method", ["rk45", "dop853", "rodas5p", "scipy", "scipy-stiff", "torchdiffeq"]
)
def test_the_error_falls_with_the_tolerance_and_is_estimated(method: str) -> None:
    arguments = LotkaVolterra(), np.arange(11.0), [[30.0, 4.0]], [HARE]
    exact = integrate(*arguments, rtol=1e-13, atol=1e-15, method="scipy").states
    errors = []
    for rtol in (1e-4, 1e-6, 1e-8):
        solution = integrate(*arguments, rtol=rtol, atol=1e-2 * rtol, method=method)
        gap = (solution.states - exact).abs().amax(dim=1) / (1e-2 + exact.abs().amax(dim=1))
        errors.append(float(gap.max()))
        assert errors[-1] < 100.0 * rtol
        assert errors[-1] < 3.0 * float(solution.error_estimate)
    assert errors[0] > 3.0 * errors[1] > 9.0 * errors[2]
