"""The adaptive methods, explicit and implicit, behind one interface: `Stepper`."""

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
from warp_phys.systems.forcing.schedule import InputPiece


@dataclass(frozen=True)
class Stepper:
    """One adaptive method.

    Attributes:
        name: Name of the method, as in `integrate(method=...)`.
        error_order: Order of the error estimate; the step grows as error^(-1 / (error_order + 1)).
        stability: Value of step size times largest eigenvalue above which a step counts as limited
            by stability.
        share: The local errors are kept below this share of the tolerance. Local errors add up and
            are amplified: with a tenth, 999 of 1,000 trajectories of well-conditioned systems have
            global errors below the tolerance. The implicit method needs a smaller share to be as
            accurate as the explicit ones.
        step: Tries a step, given the problem, the inputs, t, y, f and h.
        interpolant: Returns the coefficients of the dense output, given the problem, the inputs, t,
            y, h and the step.
    """

    name: str
    error_order: int
    stability: float
    share: float
    step: Callable[[Problem, InputPiece | None, Tensor, Tensor, Tensor, Tensor], Step]
    interpolant: Callable[[Problem, InputPiece | None, Tensor, Tensor, Tensor, Step], list[Tensor]]


def _explicit(tableau: Tableau) -> Stepper:
    def step(
        problem: Problem, drive: InputPiece | None, t: Tensor, y: Tensor, f: Tensor, h: Tensor
    ) -> Step:
        return take_step(problem, tableau, drive, t, y, f, h)

    def between(
        problem: Problem, drive: InputPiece | None, t: Tensor, y: Tensor, h: Tensor, step: Step
    ) -> list[Tensor]:
        return interpolant(problem, tableau, drive, t, y, h, step)

    return Stepper(tableau.name, tableau.error_order, tableau.stability, 0.1, step, between)


def _implicit(tableau: RosenbrockTableau) -> Stepper:
    def step(
        problem: Problem, drive: InputPiece | None, t: Tensor, y: Tensor, f: Tensor, h: Tensor
    ) -> Step:
        return take_implicit_step(problem, tableau, drive, t, y, f, h)

    def between(
        problem: Problem, drive: InputPiece | None, t: Tensor, y: Tensor, h: Tensor, step: Step
    ) -> list[Tensor]:
        return implicit_interpolant(tableau, y, step)

    # The method is L-stable: no step is ever limited by stability.
    return Stepper(tableau.name, tableau.error_order, math.inf, 0.005, step, between)


STEPPERS = {
    stepper.name: stepper
    for stepper in (
        _explicit(RK45_TABLEAU),
        _explicit(DOP853_TABLEAU),
        _implicit(RODAS5P_TABLEAU),
    )
}
