"""One step of an embedded explicit Runge-Kutta pair for a batch, and the interpolant inside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.dynamics.stepping.tableaus import Tableau
from warp_phys.systems.forcing.schedule import Drive


@dataclass(frozen=True)
class Step:
    """A step that was tried.

    Attributes:
        y: (S, n), the states at its end.
        f: (S, n), their derivative.
        stages: The derivatives at all stages, each (S, n), `f` last (of a Rosenbrock method: the
            increments).
        error_norm: (n,), largest error of a state over what is tolerated; at most 1 to be accepted,
            infinite where the step left the finite numbers.
        stiffness: (n,), step size times an estimate of the largest eigenvalue.
    """

    y: Tensor
    f: Tensor
    stages: list[Tensor]
    error_norm: Tensor
    stiffness: Tensor


@dataclass(frozen=True)
class ExplicitStep:
    """A step of an explicit pair; the shape (..., n) of states is whatever it was given.

    Attributes:
        h: (n,), its size.
        y: What was integrated, at its end.
        stages: The derivatives at all stages, the one at the end of the step last.
        last: Where the last stage but one was evaluated, which is at the end of the step, too.
    """

    h: Tensor
    y: Tensor
    stages: list[Tensor]
    last: Tensor

    @property
    def f(self) -> Tensor:
        """The derivative at its end."""
        return self.stages[-1]

    def error(self, weights: Sequence[float]) -> Tensor:
        """Return an estimate of the local error, by weights from `Tableau.errors`."""
        return self.h * combine(weights, self.stages)


def explicit_step(
    tableau: Tableau,
    derivative: Callable[[Tensor, Tensor], Tensor],
    t: Tensor,
    y: Tensor,
    f: Tensor,
    h: Tensor,
) -> ExplicitStep:
    """Take a step from (t, y), with derivative f there, of size h for each trajectory.

    With k_1 = f and k_i = f(t + c_i h, y + h sum_j a_ij k_j) it is y_1 = y + h sum_j b_j k_j. How
    large its error may be is left to the caller.
    """
    stages = [f]
    stage_y = y
    for weights, node in zip(tableau.stages, tableau.nodes, strict=True):
        stage_y = torch.addcmul(y, combine(weights, stages), h)
        stages.append(derivative(torch.add(t, h, alpha=node), stage_y))
    y_new = torch.addcmul(y, combine(tableau.weights, stages), h)
    stages.append(derivative(t + h, y_new))
    return ExplicitStep(h, y_new, stages, stage_y)


def take_step(
    problem: Problem,
    tableau: Tableau,
    drive: Drive | None,
    t: Tensor,
    y: Tensor,
    f: Tensor,
    h: Tensor,
) -> Step:
    """Try a step of a problem, and judge it by the problem's tolerances."""

    def derivative(t: Tensor, y: Tensor) -> Tensor:
        return problem.derivative(t, y, drive)

    step = explicit_step(tableau, derivative, t, y, f, h)
    # Both last stages sit at the end of the step: their difference shows the steepest direction
    # (Hairer, Wanner, Solving ODEs II, sec. IV.2).
    rise = largest(step.f - step.stages[-2])
    run = largest(step.y - step.last)
    scale = problem.atol + problem.rtol * torch.maximum(y.abs(), step.y.abs())
    error_norm = _error_norm(tableau, step, scale)
    finite = (step.y + step.f).isfinite().all(dim=0) & error_norm.isfinite()
    return Step(
        y=step.y,
        f=step.f,
        stages=step.stages,
        error_norm=torch.where(finite, error_norm, torch.inf),
        stiffness=torch.where(run > 0.0, h * rise / run, 0.0),
    )


def interpolant(
    problem: Problem,
    tableau: Tableau,
    drive: Drive | None,
    t: Tensor,
    y: Tensor,
    h: Tensor,
    step: Step,
) -> list[Tensor]:
    """Return the coefficients F_j, each (S, n), of the interpolant of a step from y to step.y.

    With x = 0..1 along the step: y + x (F_0 + (1 - x) (F_1 + x (F_2 + (1 - x) (F_3 + ...)))). The
    first three follow from values and derivatives at both ends.
    """
    stages = list(step.stages)
    change, before, after = step.y - y, h * stages[0], h * stages[-1]
    for weights, node in zip(tableau.extra_stages, tableau.extra_nodes, strict=True):
        stage_y = torch.addcmul(y, combine(weights, stages), h)
        stages.append(problem.derivative(torch.add(t, h, alpha=node), stage_y, drive))
    inner = [h * combine(weights, stages) for weights in tableau.interpolation]
    return [change, before - change, 2.0 * change - before - after, *inner]


def evaluate(y: Tensor, coefficients: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return the interpolant (S, m) at x (m,); y and the coefficients are (S, m)."""
    rest = 1.0 - x
    value = torch.zeros_like(y)
    for position in range(len(coefficients) - 1, -1, -1):
        value = (value + coefficients[position]) * (rest if position % 2 else x)
    return y + value


def combine(weights: Sequence[float], stages: Sequence[Tensor]) -> Tensor:
    """Return the weighted sum of the stages, (S, n)."""
    total: Tensor | None = None
    for weight, stage in zip(weights, stages, strict=False):
        if weight == 0.0:
            continue
        total = stage * weight if total is None else total.add_(stage, alpha=weight)
    return torch.zeros_like(stages[0]) if total is None else total


def largest(values: Tensor) -> Tensor:
    """Return the largest absolute value over the states, (n,)."""
    return values.abs().amax(dim=0)


def _error_norm(tableau: Tableau, step: ExplicitStep, scale: Tensor) -> Tensor:
    """Return the largest local error of a state over its scale, (n,)."""
    norm = largest(step.error(tableau.errors[0]) / scale)
    if len(tableau.errors) == 1:
        return norm
    # DOP853 tempers its fifth-order estimate by a third-order one: E5^2 / sqrt(E5^2 + .01 E3^2)
    # (Hairer, Norsett, Wanner, Solving ODEs I, sec. II.10).
    rough = largest(step.error(tableau.errors[1]) / scale)
    ratio = norm / torch.sqrt(norm**2 + 0.01 * rough**2)
    return torch.where(norm == 0.0, 0.0, norm * ratio)
