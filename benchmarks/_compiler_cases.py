"""The systems of `compiler_comparison.py`, their right-hand sides written once more.

The catalog's own need torch; these take the functions of any library as their first argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from warp_phys.systems import get_system

Range = tuple[float, float]
Rates = Callable[[Any, Sequence[Any], Sequence[Any]], Sequence[Any]]

# x / (e^x - 1) around 0, as in `HodgkinHuxley`.
BERNOULLI = (1.0 / 12.0, -1.0 / 720.0, 1.0 / 30240.0, -1.0 / 1209600.0, 1.0 / 47900160.0)


@dataclass(frozen=True)
class Case:
    """A system of the catalog, and its right-hand side once more for those that take no torch.

    Attributes:
        name: Of the system.
        states: What each state is drawn from.
        rates: (functions of a library, states, parameters) -> derivatives.
    """

    name: str
    states: tuple[Range, ...]
    rates: Rates

    def draw(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return states (S, n) and parameters (P, n), the fixed ones at their value."""
        generator = np.random.Generator(np.random.Philox(key=0))
        parameters = [
            value.range if value.fixed is None else (value.fixed, value.fixed)
            for value in get_system(self.name).parameters
        ]
        low, high = np.array([*self.states, *parameters]).T[..., None]
        table = low + (high - low) * generator.random((len(low), n))
        return table[: len(self.states)].copy(), table[len(self.states) :].copy()


def lotka_volterra(_: Any, y: Sequence[Any], p: Sequence[Any]) -> Sequence[Any]:
    """Hares and lynxes."""
    prey, predator = y
    alpha, beta, gamma, delta = p
    return (alpha - beta * predator) * prey, (delta * prey - gamma) * predator


def pendulum(f: Any, y: Sequence[Any], p: Sequence[Any]) -> Sequence[Any]:
    """A damped pendulum."""
    angle, velocity = y
    length, damping, g = p
    return velocity, -g / length * f.sin(angle) - damping * velocity


def robertson(_: Any, y: Sequence[Any], p: Sequence[Any]) -> Sequence[Any]:
    """A stiff reaction."""
    reactant, intermediate, product = y
    k1, k2, k3 = p
    forward = k1 * reactant - k3 * intermediate * product
    formed = k2 * intermediate**2
    return -forward, forward - formed, formed


def coupled_oscillators(_: Any, y: Sequence[Any], p: Sequence[Any]) -> Sequence[Any]:
    """Three masses in a row."""
    positions, velocities = y[:3], y[3:]
    mass, stiffness, coupling, damping = p
    springs = [stiffness, coupling, coupling, stiffness]
    ends = [0.0, *positions, 0.0]
    tensions = [spring * (b - a) for spring, a, b in zip(springs, ends[:-1], ends[1:], strict=True)]
    return *velocities, *(
        (tensions[i + 1] - tensions[i] - damping * velocities[i]) / mass for i in range(3)
    )


def hodgkin_huxley(f: Any, y: Sequence[Any], p: Sequence[Any]) -> Sequence[Any]:
    """A firing axon."""
    voltage, n, m, h = y
    current, g_na, g_k, g_leak, e_na, e_k, e_leak, capacitance = p
    v = voltage + 65.0

    def bernoulli(x: Any) -> Any:
        near = f.below(f.abs(x), 0.25)
        small, large = f.where(near, x, 0.0 * x), f.where(near, 1.0 + 0.0 * x, x)
        squared = small * small
        tail = 0.0 * x
        for coefficient in reversed(BERNOULLI):
            tail = coefficient + squared * tail
        return f.where(near, 1.0 - 0.5 * small + squared * tail, large / f.expm1(large))

    flow = g_k * n**4 * (voltage - e_k) + g_na * m**3 * h * (voltage - e_na)
    return (
        (current - flow - g_leak * (voltage - e_leak)) / capacitance,
        0.1 * bernoulli(1.0 - v / 10.0) * (1.0 - n) - 0.125 * f.exp(-v / 80.0) * n,
        bernoulli(2.5 - v / 10.0) * (1.0 - m) - 4.0 * f.exp(-v / 18.0) * m,
        0.07 * f.exp(-v / 20.0) * (1.0 - h) - h / (1.0 + f.exp(3.0 - v / 10.0)),
    )


CASES = {
    case.name: case
    for case in (
        Case("lotka_volterra", ((1.0, 60.0), (1.0, 60.0)), lotka_volterra),
        Case("pendulum", ((-3.0, 3.0), (-3.0, 3.0)), pendulum),
        Case("robertson", ((0.0, 1.0), (0.0, 4e-5), (0.0, 1.0)), robertson),
        Case("coupled_oscillators", ((-1.0, 1.0),) * 6, coupled_oscillators),
        Case("hodgkin_huxley", ((-80.0, 40.0), *((0.0, 1.0),) * 3), hodgkin_huxley),
    )
}
