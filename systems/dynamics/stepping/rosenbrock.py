"""One step of a Rosenbrock method for stiff systems, for a batch with a step size for each row."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from warp_phys.systems.compiling.numpy_code import NumericJacobian
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.dynamics.stepping.rosenbrock_tableau import RosenbrockTableau
from warp_phys.systems.dynamics.stepping.runge_kutta import Step, combine, largest
from warp_phys.systems.forcing.schedule import InputPiece
from warp_phys.systems.model.system import System

_KNOWN: WeakKeyDictionary[System, NumericJacobian | None] = WeakKeyDictionary()


def take_implicit_step(
    problem: Problem,
    tableau: RosenbrockTableau,
    drive: InputPiece | None,
    t: Tensor,
    y: Tensor,
    f: Tensor,
    h: Tensor,
) -> Step:
    """Try a step from (t, y), with derivative f there, of size h (n,) for each trajectory.

    With J = df/dy at (t, y), the increments k_i (S, n) solve the linear systems

        (1 / (gamma h) - J) k_i = f(t + c_i h, y + sum_j a_ij k_j) + sum_j (C_ij / h) k_j
                                  + d_i h df/dt

    of `RosenbrockTableau`, all with one matrix, so that a step needs one LU factorization (Hairer,
    Wanner, Solving ODEs II, sec. IV.7).
    """
    jacobian, rate = _linearization(problem, drive, t, y)
    # Finished rows have h = 0, and 1 / h would put NaN into the factorization.
    safe = torch.where(h > 0.0, h, 1.0)
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
        # The first stage is evaluated at (t, y), where the derivative is known.
        right = f
        if increments:
            stage_y = y + combine(weights, increments)
            right = problem.derivative(torch.add(t, h, alpha=node), stage_y, drive)
            right = right + combine(couplings, increments) / safe
        right = right + (time_weight * h) * rate
        # lu_solve wants the batch first and right-hand sides as columns: (S, n) becomes (n, S, 1).
        solved = torch.linalg.lu_solve(*factors, right.T[:, :, None])
        increments.append(solved[:, :, 0].T.contiguous())
    y_new = y + combine(tableau.weights, increments)
    f_new = problem.derivative(t + h, y_new, drive)
    # The method is stiffly accurate: the embedded solution differs from y_1 by the last increment
    # alone, so that this is the error estimate.
    error = increments[-1]
    norm = largest(error / (problem.atol + problem.rtol * torch.maximum(y.abs(), y_new.abs())))
    finite = (y_new + f_new).isfinite().all(dim=0) & norm.isfinite() & defined
    return Step(
        y=y_new,
        f=f_new,
        stages=increments,
        error_norm=torch.where(finite, norm, torch.inf),
        # An L-stable method is never limited by stability, so there is nothing to detect.
        stiffness=torch.zeros_like(t),
    )


def implicit_interpolant(tableau: RosenbrockTableau, y: Tensor, step: Step) -> list[Tensor]:
    """Return the coefficients F_j of the dense output, in the form of `runge_kutta.interpolant`."""
    first, second, third = (combine(row, step.stages) for row in tableau.interpolation)
    # The tableau has K_1 + x (K_2 + x K_3), whereas `evaluate` nests x and 1 - x by turns: the two
    # agree because of x K_3 = K_3 - (1 - x) K_3.
    return [step.y - y, first, second + third, -third]


def _factorized(size: Tensor, jacobian: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return the LU factors of 1 / size (n,) - df/dy (n, S, S), and where it is finite, (n,)."""
    identity = torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
    matrix = identity / size[:, None, None] - jacobian
    defined = matrix.isfinite().all(dim=2).all(dim=1)
    # A matrix that is not finite is replaced by the identity, and its step is rejected by
    # `defined`: LAPACK may not return from NaN, and lu_factor_ex, unlike lu_factor, accepts
    # singular matrices.
    found = torch.linalg.lu_factor_ex(torch.where(defined[:, None, None], matrix, identity))
    return (found[0], found[1]), defined


def _linearization(
    problem: Problem, drive: InputPiece | None, t: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Return df/dy (n, S, S) and df/dt (S, n) at (t, y), the latter with changing inputs.

    With inputs u(t) that change at the rate u', df/dt here is the total derivative at fixed y, the
    partial derivative by t plus df/du u'.
    """
    traced = _traced(problem)
    if traced is None:
        return _by_forward_derivatives(problem, drive, t, y)
    inputs = (None, None) if drive is None else (drive.at(t), drive.slope)
    return traced(t, y, problem.parameters, *inputs)


def _traced(problem: Problem) -> NumericJacobian | None:
    """Return the Jacobian as traced expressions, None where the system cannot be traced.

    Expressions are many times faster than forward derivatives by torch, as they use the sparsity of
    the Jacobian and share common subexpressions.
    """
    like = problem.initial
    if like.dtype != torch.float64 or like.device.type != "cpu":
        return None
    if problem.system not in _KNOWN:
        graph = translated(problem.system)
        _KNOWN[problem.system] = None if graph is None else NumericJacobian(graph.rhs)
    return _KNOWN[problem.system]


def _by_forward_derivatives(
    problem: Problem, drive: InputPiece | None, t: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    # Forward-mode differentiation of one batch that holds S + 1 copies, one for each direction.
    count = len(y)
    # Column j < S of the tangents is the unit vector of state j, with dt = 0; column S has dt = 1
    # and no state.
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
    # slopes[i, j] holds the derivative of component i along direction j, for every trajectory.
    return slopes[:, :count].permute(2, 0, 1), slopes[:, count]
