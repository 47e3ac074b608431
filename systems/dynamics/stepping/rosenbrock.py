"""One step of a Rosenbrock method for stiff systems, on a batch in which each has its own size."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from warp_phys.systems.compiling.numpy_code import NumericJacobian
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.dynamics.stepping.rosenbrock_tableau import RosenbrockTableau
from warp_phys.systems.dynamics.stepping.runge_kutta import Step, combine, largest
from warp_phys.systems.forcing.schedule import Drive
from warp_phys.systems.model.system import System

_KNOWN: WeakKeyDictionary[System, NumericJacobian | None] = WeakKeyDictionary()


def take_implicit_step(
    problem: Problem,
    tableau: RosenbrockTableau,
    drive: Drive | None,
    t: Tensor,
    y: Tensor,
    f: Tensor,
    h: Tensor,
) -> Step:
    """Try a step from (t, y), with derivative f there, of size h for each trajectory.

    The equations of the increments are those of `RosenbrockTableau` (Hairer, Wanner, Solving ODEs
    II, sec. IV.7).
    """
    jacobian, rate = _linearization(problem, drive, t, y)
    safe = torch.where(h > 0.0, h, 1.0)  # trajectories at rest
    factors, defined = _factorized(tableau.gamma * safe, jacobian)
    increments: list[Tensor] = []
    rows = zip(
        tableau.nodes,
        ((), *tableau.stages),
        ((), *tableau.couplings),
        tableau.time_weights,
        strict=True,
    )
    for node, weights, couplings, time_weight in rows:
        right = f
        if increments:
            stage_y = y + combine(weights, increments)
            right = problem.derivative(torch.add(t, h, alpha=node), stage_y, drive)
            right = right + combine(couplings, increments) / safe
        right = right + (time_weight * h) * rate
        solved = torch.linalg.lu_solve(*factors, right.T[:, :, None])
        increments.append(solved[:, :, 0].T.contiguous())
    y_new = y + combine(tableau.weights, increments)
    f_new = problem.derivative(t + h, y_new, drive)
    error = increments[-1]
    norm = largest(error / (problem.atol + problem.rtol * torch.maximum(y.abs(), y_new.abs())))
    finite = (y_new + f_new).isfinite().all(dim=0) & norm.isfinite() & defined
    return Step(
        y=y_new,
        f=f_new,
        stages=increments,
        error_norm=torch.where(finite, norm, torch.inf),
        stiffness=torch.zeros_like(t),
    )


def implicit_interpolant(tableau: RosenbrockTableau, y: Tensor, step: Step) -> list[Tensor]:
    """Return the coefficients F_j of the step's interpolant, as `_runge_kutta.interpolant` does."""
    first, second, third = (combine(row, step.stages) for row in tableau.interpolation)
    # x K_3 = K_3 - (1 - x) K_3: the nesting of `evaluate`.
    return [step.y - y, first, second + third, -third]


def _factorized(size: Tensor, jacobian: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return the factors of 1 / size (n,) - df/dy (n, S, S), and where they are finite, (n,)."""
    identity = torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
    matrix = identity / size[:, None, None] - jacobian
    defined = matrix.isfinite().all(dim=2).all(dim=1)
    found = torch.linalg.lu_factor_ex(torch.where(defined[:, None, None], matrix, identity))
    return (found[0], found[1]), defined


def _linearization(
    problem: Problem, drive: Drive | None, t: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Return df/dy (n, S, S) and df/dt (S, n), along which the inputs change, too."""
    traced = _traced(problem)
    if traced is None:
        return _by_forward_derivatives(problem, drive, t, y)
    inputs = (None, None) if drive is None else (drive.at(t), drive.slope)
    return traced(t, y, problem.parameters, *inputs)


def _traced(problem: Problem) -> NumericJacobian | None:
    """Return the Jacobian as expressions, many times faster, where there can be any."""
    like = problem.initial
    if like.dtype != torch.float64 or like.device.type != "cpu":
        return None
    if problem.system not in _KNOWN:
        graph = translated(problem.system)
        _KNOWN[problem.system] = None if graph is None else NumericJacobian(graph.rhs)
    return _KNOWN[problem.system]


def _by_forward_derivatives(
    problem: Problem, drive: Drive | None, t: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    count = len(y)
    directions = torch.eye(count, count + 1, dtype=y.dtype, device=y.device)
    moving = torch.ones_like(t).repeat(count + 1, 1)
    moving[:count] = 0.0

    def derivative(t: Tensor, y: Tensor) -> Tensor:
        inputs = None if drive is None else drive.at(t)
        parameters = problem.parameters[:, None].expand(-1, count + 1, y.shape[-1])
        return problem.system.derivative(t, y, parameters, inputs)

    # One copy of the batch for each direction: every state, then time.
    copies = (t.repeat(count + 1, 1), y[:, None].repeat(1, count + 1, 1))
    along = (moving, directions[:, :, None].repeat(1, 1, y.shape[1]))
    slopes = torch.func.jvp(derivative, copies, along)[1]
    return slopes[:, :count].permute(2, 0, 1), slopes[:, count]
