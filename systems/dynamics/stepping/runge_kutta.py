"""One step of an embedded explicit Runge-Kutta pair for a batch, and its dense output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.dynamics.stepping.tableaus import Tableau
from warp_phys.systems.forcing.schedule import InputPiece


@dataclass(frozen=True)
class Step:
    """A trial step of n trajectories, which step-size control accepts or rejects.

    Attributes:
        y: (S, n), the states at the end of the step.
        f: (S, n), the derivative at the end of the step.
        stages: The derivatives at all stages, each (S, n), `f` last (for a Rosenbrock method, the
            increments).
        error_norm: (n,), the largest ratio of a state's error to its tolerance. The step can be
            accepted if it is at most 1; it is infinite if the step is not finite.
        stiffness: (n,), step size times an estimate of the largest eigenvalue.
    """

    y: Tensor
    f: Tensor
    stages: list[Tensor]
    error_norm: Tensor
    stiffness: Tensor


@dataclass(frozen=True)
class ExplicitStep:
    """A step of an explicit pair; states have the shape (..., n) of the initial value.

    Attributes:
        h: (n,), the step size.
        y: The solution at the end of the step.
        stages: The derivatives at all stages, the one at the end of the step last.
        last: The argument of the last stage but one, whose node is also the end of the step.
    """

    h: Tensor
    y: Tensor
    stages: list[Tensor]
    last: Tensor

    @property
    def f(self) -> Tensor:
        """The derivative at the end of the step."""
        return self.stages[-1]

    def error(self, weights: Sequence[float]) -> Tensor:
        """Return the error estimate h sum_j e_j k_j, with weights e from `Tableau.errors`."""
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

    With k_1 = f and k_i = f(t + c_i h, y + h sum_j a_ij k_j), the step is
    y_1 = y + h sum_j b_j k_j. The caller decides whether its error is small enough.

    Args:
        tableau: The coefficients a, b and c.
        derivative: The right-hand side f(t, y).
        t: (n,), time at the start of the step.
        y: (..., n), states at the start of the step.
        f: (..., n), the derivative there.
        h: (n,), step size; 0 leaves a trajectory where it is.
    """
    stages = [f]
    stage_y = y
    for weights, node in zip(tableau.stages, tableau.nodes, strict=True):
        stage_y = torch.addcmul(y, combine(weights, stages), h)
        stages.append(derivative(torch.add(t, h, alpha=node), stage_y))
    y_new = torch.addcmul(y, combine(tableau.weights, stages), h)
    # First same as last: the derivative at the end is a stage of the error estimate and the first
    # stage of the next step, so that an accepted step costs one evaluation less.
    stages.append(derivative(t + h, y_new))
    return ExplicitStep(h, y_new, stages, stage_y)


def take_step(
    problem: Problem,
    tableau: Tableau,
    drive: InputPiece | None,
    t: Tensor,
    y: Tensor,
    f: Tensor,
    h: Tensor,
) -> Step:
    """Try a step of a problem, and return it with its error norm by the problem's tolerances."""

    def derivative(t: Tensor, y: Tensor) -> Tensor:
        return problem.derivative(t, y, drive)

    step = explicit_step(tableau, derivative, t, y, f, h)
    # Both last stages, k_(s-1) and k_s, are evaluated at t + h, at the arguments g_(s-1) and g_s.
    # Hence h |k_s - k_(s-1)| / |g_s - g_(s-1)| estimates h times the largest eigenvalue, as the
    # difference of the arguments turns into the steepest direction (Hairer, Wanner, Solving ODEs
    # II, sec. IV.2).
    rise = largest(step.f - step.stages[-2])
    run = largest(step.y - step.last)
    # sc_i = atol + rtol max(|y_0i|, |y_1i|) (Hairer, Norsett, Wanner, Solving ODEs I, sec. II.4).
    # The norm is the maximum instead of the root mean square, in which a bad state could hide among
    # good ones.
    scale = problem.atol + problem.rtol * torch.maximum(y.abs(), step.y.abs())
    error_norm = _error_norm(tableau, step, scale)
    # An overflow must reject the step: NaN compares as false and would never be rejected by size.
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
    drive: InputPiece | None,
    t: Tensor,
    y: Tensor,
    h: Tensor,
    step: Step,
) -> list[Tensor]:
    """Return the coefficients F_j, each (S, n), of the dense output of a step from y to step.y.

    With x = 0..1 along the step: y + x (F_0 + (1 - x) (F_1 + x (F_2 + (1 - x) (F_3 + ...)))). The
    first three coefficients, those of the cubic Hermite polynomial, follow from the values and
    derivatives at both ends; the others raise its order (Hairer, Norsett, Wanner, Solving ODEs I,
    sec. II.6).
    """
    stages = list(step.stages)
    # Let D = y_1 - y_0. The slope by x is F_0 + F_1 at x = 0 and F_0 - F_1 - F_2 at x = 1. Equating
    # them with h f_0 and h f_1 gives F_0 = D, F_1 = h f_0 - D and F_2 = 2 D - h f_0 - h f_1.
    change, before, after = step.y - y, h * stages[0], h * stages[-1]
    for weights, node in zip(tableau.extra_stages, tableau.extra_nodes, strict=True):
        stage_y = torch.addcmul(y, combine(weights, stages), h)
        stages.append(problem.derivative(torch.add(t, h, alpha=node), stage_y, drive))
    inner = [h * combine(weights, stages) for weights in tableau.interpolation]
    return [change, before - change, 2.0 * change - before - after, *inner]


def evaluate(y: Tensor, coefficients: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return the dense output (S, m) at x (m,); y and the coefficients are (S, m)."""
    # Horner's scheme with the factors x and 1 - x by turns. The last factor is x and the value at
    # the start is added at the end, so that x = 0 gives y exactly.
    rest = 1.0 - x
    value = torch.zeros_like(y)
    for position in range(len(coefficients) - 1, -1, -1):
        value = (value + coefficients[position]) * (rest if position % 2 else x)
    return y + value


def combine(weights: Sequence[float], stages: Sequence[Tensor]) -> Tensor:
    """Return the weighted sum of the stages, (S, n).

    There may be more stages than weights, or the reverse; the excess is ignored.
    """
    total: Tensor | None = None
    for weight, stage in zip(weights, stages, strict=False):
        if weight == 0.0:
            # Many weights of DOP853 are zero. Skipping them saves work and keeps 0 times infinity,
            # which would be NaN, out of the sum.
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
    # DOP853 combines its estimates of orders 5 and 3 to err5^2 / sqrt(err5^2 + 0.01 err3^2), which
    # is of order 7 (Hairer, Norsett, Wanner, Solving ODEs I, sec. II.10).
    rough = largest(step.error(tableau.errors[1]) / scale)
    ratio = norm / torch.sqrt(norm**2 + 0.01 * rough**2)
    # If both estimates are zero, the quotient is 0 / 0, though the error is zero.
    return torch.where(norm == 0.0, 0.0, norm * ratio)
