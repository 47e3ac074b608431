"""Small problems that tests of the integrators share, each library compiled once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from warp_phys.systems import Dose, Input, Parameter, State, System
from warp_phys.systems.compiling.compiler import compiler
from warp_phys.systems.dynamics.arguments import build_problem
from warp_phys.systems.dynamics.problem import Problem

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")

# Every method that takes inputs and doses, but the one whose steps do not know of a tolerance.
ADAPTIVE = ["auto", "dop853", "rk45", "rodas5p", "scipy", "scipy-stiff", "torchdiffeq"]
RATE = Parameter("rate", "1", support=(0.0, 1e6), range=(0.1, 1.0))
HARE = [0.55, 0.028, 0.80, 0.024]


class Explosion(System):
    """y' = rate y^2, infinite at t = 1 / (rate y(0))."""

    states = (State("y", "1"),)
    parameters = (RATE,)

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        return (p.rate * y[0] ** 2,)


class Driven(System):
    """y' = push - rate y, the push linear between its times."""

    states = (State("y", "1"),)
    parameters = (RATE,)
    inputs = (Input("push", "1"),)

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        return (p.push - p.rate * y[0],)


class Held(Driven):
    """y' = push - rate y, the push held from time to time."""

    inputs = (Input("push", "1", between="held"),)


def problem(
    system: System,
    times: Any,
    states: Any,
    parameters: Any,
    *,
    inputs: Any = None,
    input_times: Any = None,
    doses: Sequence[Dose] = (),
    rtol: float = 1e-8,
    atol: float = 1e-10,
    max_steps: int = 100_000,
) -> Problem:
    """Return what `integrate` hands to its methods."""
    return build_problem(
        system,
        times,
        states,
        parameters,
        inputs=inputs,
        input_times=input_times,
        doses=doses,
        initial_time=None,
        rtol=rtol,
        atol=atol,
        max_steps=max_steps,
    )


def many(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return initial states and parameters of Lotka-Volterra trajectories."""
    rng = np.random.default_rng(seed)
    states = rng.uniform([5.0, 2.0], [50.0, 40.0], (count, 2))
    parameters = rng.uniform([0.4, 0.02, 0.4, 0.02], [1.2, 0.06, 1.2, 0.06], (count, 4))
    return torch.from_numpy(states), torch.from_numpy(parameters)


def leaf(values: Any) -> Tensor:
    """Return a tensor that gradients are wanted for."""
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def observed_order(sizes: Sequence[float], errors: Sequence[float]) -> float:
    """Return the slope of log error over log step size."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def driven(
    times: Sequence[float],
    start: float,
    rate: float,
    knots: Sequence[float],
    push: Sequence[float],
    held: bool = False,
) -> np.ndarray:
    """Return y(t) (T,) of `Driven` or `Held` by its closed form, y(times[0]) = start."""
    found, t, y = [], times[0], start
    stops = sorted({*times, *(knot for knot in knots if knot > times[0])})
    for stop in stops:
        s = stop - t
        place = int(np.searchsorted(knots, t, side="right")) - 1
        ends = np.interp([t, stop], knots, push)
        if held:
            ends = np.full(2, push[max(place, 0)])
        decayed = np.exp(-rate * s)
        slope = (ends[1] - ends[0]) / s if s else 0.0
        gain = (1.0 - decayed) / rate
        y = y * decayed + ends[0] * gain + slope * (s - gain) / rate
        t = stop
        if stop in times:
            found.append(y)
    return np.array(found)
