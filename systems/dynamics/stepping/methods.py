"""The adaptive methods, explicit and implicit, behind one interface."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.dynamics.stepping.rosenbrock import implicit_interpolant, take_implicit_step
from warp_phys.systems.dynamics.stepping.rosenbrock_tableau import (
    RODAS5P_TABLEAU,
    RosenbrockTableau,
)
from warp_phys.systems.dynamics.stepping.runge_kutta import Step, interpolant, take_step
from warp_phys.systems.dynamics.stepping.tableaus import DOP853_TABLEAU, RK45_TABLEAU, Tableau
from warp_phys.systems.forcing.schedule import Drive


@dataclass(frozen=True)
class Stepper:
    """One adaptive method.

    Attributes:
        name: What the method is called.
        error_order: Order of the error estimate; the step grows as error^(-1 / (error_order + 1)).
        stability: Step size times largest eigenvalue from which on a step counts as bounded by
            stability.
        share: Of the tolerance, that the local errors are held to. They add up and grow: a tenth
            leaves 999 in 1,000 trajectories of well-conditioned systems with global errors below
            it; the implicit method needs less to be as exact as its peers.
        step: Tries a step, given the problem, the inputs, t, y, f and h.
        interpolant: Returns the coefficients of a step, given the same but f, and the step.
    """

    name: str
    error_order: int
    stability: float
    share: float
    step: Callable[[Problem, Drive | None, Tensor, Tensor, Tensor, Tensor], Step]
    interpolant: Callable[[Problem, Drive | None, Tensor, Tensor, Tensor, Step], list[Tensor]]


def _explicit(tableau: Tableau) -> Stepper:
    def step(
        problem: Problem, drive: Drive | None, t: Tensor, y: Tensor, f: Tensor, h: Tensor
    ) -> Step:
        return take_step(problem, tableau, drive, t, y, f, h)

    def between(
        problem: Problem, drive: Drive | None, t: Tensor, y: Tensor, h: Tensor, step: Step
    ) -> list[Tensor]:
        return interpolant(problem, tableau, drive, t, y, h, step)

    return Stepper(tableau.name, tableau.error_order, tableau.stability, 0.1, step, between)


def _implicit(tableau: RosenbrockTableau) -> Stepper:
    def step(
        problem: Problem, drive: Drive | None, t: Tensor, y: Tensor, f: Tensor, h: Tensor
    ) -> Step:
        return take_implicit_step(problem, tableau, drive, t, y, f, h)

    def between(
        problem: Problem, drive: Drive | None, t: Tensor, y: Tensor, h: Tensor, step: Step
    ) -> list[Tensor]:
        return implicit_interpolant(tableau, y, step)

    return Stepper(tableau.name, tableau.error_order, math.inf, 0.005, step, between)


STEPPERS = {
    stepper.name: stepper
    for stepper in (
        _explicit(RK45_TABLEAU),
        _explicit(DOP853_TABLEAU),
        _implicit(RODAS5P_TABLEAU),
    )
}
