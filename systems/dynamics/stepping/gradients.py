"""Gradients of compiled flows by forward sensitivities, integrated along with the states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.compiling.compiler import CompiledLibrary
from warp_phys.systems.dynamics.problem import Problem, Solution
from warp_phys.systems.dynamics.stepping.compiled import flow_library, solve_compiled
from warp_phys.systems.errors import UsageError


def gradient_library(problem: Problem, method: str) -> CompiledLibrary | None:
    """Return the library with sensitivities to parameters and initial states, or None.

    There is none if times, inputs or doses require gradients, in forward mode, and in the cases of
    `flow_library`.
    """
    others = [problem.times, problem.start]
    if problem.schedule is not None:
        others += problem.schedule.tensors()
    if any(tensor.requires_grad for tensor in others) or problem.forward_mode:
        return None
    parameters = range(len(problem.parameters))
    states = range(len(problem.initial))
    return flow_library(problem, method, (*parameters, *(-1 - state for state in states)))


def solve_with_gradients(problem: Problem, method: str, library: CompiledLibrary) -> Solution:
    """Integrate by a stepping method with first-order gradients of the states.

    The samples of trajectories that failed are constants: their gradients are zero.
    """
    found: list[Solution] = []
    states = _Flow.apply(problem.initial, problem.parameters, problem, method, library, found)
    return Solution(
        states,
        found[0].error_estimate,
        found[0].status,
        found[0].engine,
        found[0].compile_seconds,
    )


class _Flow(torch.autograd.Function):
    """Maps initial states (S, N) and parameters (P, N) to states (N, T, S).

    The forward pass stores the sensitivities s_d = dy/dq_d. The gradient by q_d is the sum over
    samples and states of (dL/dy) s_d, which needs no second integration, unlike the adjoint method.
    """

    @staticmethod
    def forward(
        ctx: Any,
        initial: Tensor,
        parameters: Tensor,
        problem: Problem,
        method: str,
        library: CompiledLibrary,
        found: list[Solution],
    ) -> Tensor:
        n_directions = len(parameters) + len(initial)
        n_trajectories, n_times = problem.times.shape
        slopes = initial.new_zeros(n_trajectories, n_times, n_directions, len(initial))
        solution = solve_compiled(problem, method, library, slopes=slopes)
        # Sensitivities before the point of failure must not enter gradients: the samples are NaN.
        slopes[~solution.converged] = 0.0
        found.append(solution)
        ctx.save_for_backward(slopes)
        ctx.count = len(parameters)
        return solution.states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise UsageError(
                "compiled flows give first derivatives, create_graph=True asks for second ones; "
                "use method='torchdiffeq' or 'rk4'"
            )
        (slopes,) = ctx.saved_tensors
        # Samples that are padding or failed have states NaN, whose incoming gradient may be NaN,
        # too. Their sensitivities are zero, but 0 times NaN is NaN, so that the gradient is masked.
        absent = (slopes == 0.0).all(dim=2)
        total = torch.einsum("nts,ntds->dn", gradient.masked_fill(absent, 0.0), slopes)
        return total[ctx.count :], total[: ctx.count], None, None, None, None
