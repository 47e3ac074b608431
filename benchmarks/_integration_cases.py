"""What the benchmarks of integration share: the problems, and SciPy's solutions of them.

Right-hand sides are written once, with operators only, so that every library can call them.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

Range = tuple[float, float]
_PIECE = 4  # trajectories that a process takes at once


@dataclass(frozen=True)
class Problem:
    """N trajectories of one system.

    Attributes:
        times: Sample times (T,) for all or (N, T), from the initial time on.
        initial: Initial states (N, S).
        parameters: Parameters (N, P), in the order of the system's.
    """

    times: np.ndarray
    initial: np.ndarray
    parameters: np.ndarray

    def __len__(self) -> int:
        return len(self.initial)

    def select(self, rows: Any) -> Problem:
        """Return some of the trajectories."""
        times = self.times if self.times.ndim == 1 else self.times[rows]
        return Problem(times, self.initial[rows], self.parameters[rows])

    def grid(self, row: int) -> np.ndarray:
        """Return the sample times (T,) of one trajectory."""
        return self.times if self.times.ndim == 1 else self.times[row]


@dataclass(frozen=True)
class Case:
    """A system, what is drawn of it, and how SciPy solves it.

    Attributes:
        system: Its name.
        about: In words, for the tables.
        parameters: What each parameter is drawn from, in the system's order.
        initial: The same of the initial states.
        times: Sample times from the parameters (N, P).
        rates: (y, t, *parameters) -> derivatives.
        jacobian: The same, for the implicit methods.
        logarithmic: Whether parameters are drawn uniformly in the logarithm.
        stiff: Whether each trajectory is, (N,), from the parameters.
        atol: Absolute over relative tolerance.
    """

    system: str
    about: str
    parameters: tuple[Range, ...]
    initial: tuple[Range, ...]
    times: Callable[[np.ndarray], np.ndarray]
    rates: Callable[..., Any]
    jacobian: Callable[..., Any] | None = None
    logarithmic: bool = False
    stiff: Callable[[np.ndarray], np.ndarray] = lambda parameters: np.zeros(len(parameters), bool)
    atol: float = 1e-3

    def draw(self, n: int, seed: int = 0) -> Problem:
        """Draw n trajectories; the first are the same whatever n."""
        low, high = np.array(self.parameters + self.initial).T
        uniform = np.random.default_rng(seed).random((n, len(low)))
        count = len(self.parameters)
        initial = low[count:] + (high - low)[count:] * uniform[:, count:]
        low, high, uniform = low[:count], high[:count], uniform[:, :count]
        drawn = low * (high / low) ** uniform if self.logarithmic else low + (high - low) * uniform
        return Problem(self.times(drawn), initial, drawn)


def lotka_volterra(y: Any, _: Any, alpha: Any, beta: Any, gamma: Any, delta: Any) -> Any:
    """Return the growth of prey and predator."""
    return (alpha - beta * y[1]) * y[0], (delta * y[0] - gamma) * y[1]


def pendulum(y: Any, _: Any, length: Any, damping: Any, g: Any) -> Any:
    """Return angular velocity and acceleration."""
    return y[1], -g / length * np.sin(y[0]) - damping * y[1]


def van_der_pol(y: Any, _: Any, mu: Any) -> Any:
    """Return velocity and acceleration."""
    return y[1], mu * (1.0 - y[0] * y[0]) * y[1] - y[0]


def van_der_pol_jacobian(y: Any, _: Any, mu: Any) -> Any:
    """Return the derivatives of the rates by the states."""
    return np.array([[0.0, 1.0], [-2.0 * mu * y[0] * y[1] - 1.0, mu * (1.0 - y[0] * y[0])]])


def robertson(y: Any, _: Any, k1: Any, k2: Any, k3: Any) -> Any:
    """Return the rates of A -> B, 2 B -> B + C and B + C -> A + C."""
    slow, fast, back = k1 * y[0], k2 * y[1] * y[1], k3 * y[1] * y[2]
    return back - slow, slow - fast - back, fast


def robertson_jacobian(y: Any, _: Any, k1: Any, k2: Any, k3: Any) -> Any:
    """Return the derivatives of the rates by the states."""
    fast, back, forth = 2.0 * k2 * y[1], k3 * y[2], k3 * y[1]
    return np.array([[-k1, back, forth], [k1, -fast - back, -forth], [0.0, fast, 0.0]])


def three_periods(parameters: np.ndarray) -> np.ndarray:
    """Return own grids (N, 101) over about three periods of the Van der Pol oscillator."""
    mu = parameters[:, 0]
    small = 2.0 * np.pi * (1.0 + mu**2 / 16.0)
    large = (3.0 - 2.0 * np.log(2.0)) * mu + 7.014 * mu ** (-1.0 / 3.0)
    return 3.0 * np.minimum(small, large)[:, None] * np.linspace(0.0, 1.0, 101)


# Drawn from the ranges of the package's systems, but for the oscillators of Van der Pol.
CASES = {
    "lotka_volterra": Case(
        "lotka_volterra",
        "t to 10, 100 samples",
        parameters=((0.2, 2.0), (0.01, 0.15), (0.2, 2.0), (0.01, 0.15)),
        initial=((5.0, 50.0), (2.0, 40.0)),
        times=lambda _: np.linspace(0.0, 10.0, 100),
        rates=lotka_volterra,
    ),
    "pendulum": Case(
        "pendulum",
        "t to 10, 101 samples",
        parameters=((0.5, 2.0), (0.02, 0.5), (9.81, 9.81)),
        initial=((0.3, 1.5), (0.0, 0.0)),
        times=lambda _: np.linspace(0.0, 10.0, 101),
        rates=pendulum,
    ),
    "van_der_pol": Case(
        "van_der_pol",
        "mu 0.1 to 100, three periods, 101 samples",
        parameters=((0.1, 100.0),),
        initial=((0.5, 2.5), (0.0, 0.0)),
        times=three_periods,
        rates=van_der_pol,
        jacobian=van_der_pol_jacobian,
        logarithmic=True,
        stiff=lambda parameters: parameters[:, 0] >= 10.0,
    ),
    "van_der_pol_stiff": Case(
        "van_der_pol",
        "mu 100 to 1000, t to 2 mu, 101 samples",
        parameters=((100.0, 1000.0),),
        # With diffrax some of those that begin between -1 and 1 never leave.
        initial=((1.5, 2.5), (0.0, 0.0)),
        times=lambda parameters: 2.0 * parameters * np.linspace(0.0, 1.0, 101),
        rates=van_der_pol,
        jacobian=van_der_pol_jacobian,
        logarithmic=True,
        stiff=lambda parameters: np.ones(len(parameters), bool),
    ),
    "robertson": Case(
        "robertson",
        "t to 1e5, 101 samples, equidistant in the logarithm",
        parameters=((0.01, 0.16), (1e7, 9e7), (2.5e3, 4e4)),
        initial=((1.0, 1.0), (0.0, 0.0), (0.0, 0.0)),
        times=lambda _: np.append(0.0, np.logspace(-5.0, 5.0, 100)),
        rates=robertson,
        jacobian=robertson_jacobian,
        logarithmic=True,
        stiff=lambda parameters: np.ones(len(parameters), bool),
        atol=1e-4,
    ),
}


def solve_scipy(case: str, problem: Problem, method: str, rtol: float, atol: float) -> np.ndarray:
    """Return states (N, T, S) by `solve_ivp`, NaN where it fails, one trajectory at a time."""
    rates, jacobian = CASES[case].rates, CASES[case].jacobian
    exact = {}
    if method != "DOP853" and jacobian is not None:
        exact = {"jac": lambda t, y, *parameters: jacobian(y, t, *parameters)}
    states = np.full((len(problem), problem.times.shape[-1], problem.initial.shape[1]), np.nan)
    for row, initial in enumerate(problem.initial):
        times = problem.grid(row)
        solution = solve_ivp(
            lambda t, y, *parameters: rates(y, t, *parameters),
            (times[0], times[-1]),
            initial,
            method=method,
            t_eval=times,
            args=tuple(problem.parameters[row].tolist()),
            rtol=rtol,
            atol=atol,
            **exact,
        )
        states[row, : solution.y.shape[1]] = solution.y.T
    return states


def solve_in_processes(
    case: str, problem: Problem, method: str, rtol: float, atol: float
) -> np.ndarray:
    """Return the same, computed by as many processes as there are cores."""
    pieces = [
        problem.select(slice(first, first + _PIECE)) for first in range(0, len(problem), _PIECE)
    ]
    solved = processes().map(
        solve_scipy, repeat(case), pieces, repeat(method), repeat(rtol), repeat(atol)
    )
    return np.concatenate(list(solved))


@functools.cache
def processes() -> ProcessPoolExecutor:
    """Return a process for each core; they start anew, as a fork would inherit threads."""
    return ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"))


def scaled_errors(states: np.ndarray, truth: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """Return max over states and samples of error / (atol + rtol max_t abs(truth)), (N,)."""
    scale = atol + rtol * np.abs(truth).max(axis=1, keepdims=True)
    errors: np.ndarray = (np.abs(states - truth) / scale).max(axis=(1, 2))
    return errors
