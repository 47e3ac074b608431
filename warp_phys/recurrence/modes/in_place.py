r"""The recurrence in PyTorch as an autograd function that works in place.

Each step adds A theta_{t-1} to the memory in which B u_t is stored. With the gradient
g_t = dL / dtheta_t of the output, the adjoint states are computed backward in time,

    lambda_T = g_T,    lambda_t = g_t + A^T lambda_{t+1},

and give all gradients:

    dL/dA = sum_t lambda_t theta_{t-1}^T,    dL/dB = sum_t lambda_t u_t^T,
    dL/du_t = B^T lambda_t,                  dL/dtheta_0 = A^T lambda_1.

The kernels in C++ and Triton compute the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from warp_phys.recurrence.derivatives import differentiable_gradients
from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.recurrence.transforms import through_graph
from warp_phys.recurrence.transitions.dense import Dense
from warp_phys.recurrence.transitions.diagonal import Diagonal


def in_place_dense(matrix: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return the states (N, T, D) with A = matrix (D, D), a view of an array (T, N, D).

    One matrix product a step, forwards and backwards; the gradient of A is one product over all
    steps, at the full speed of the machine.

    Args:
        matrix: A, (D, D).
        B: (D, d).
        inputs: (N, T, d), T at least 1.
        initial: (N, D).
    """
    states: Tensor = _InPlaceDense.apply(matrix, B, inputs, initial)
    return states


def in_place_diagonal(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return the states (N, T, D) with A = diag(values); as `in_place_dense` otherwise."""
    states: Tensor = _InPlaceDiagonal.apply(values, B, inputs, initial)
    return states


class _InPlaceDense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
        def advance(state: Tensor, previous: Tensor) -> None:
            state.addmm_(previous, matrix.mT)

        return _forward(ctx, matrix, B, inputs, initial, advance)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if through_graph(gradient):
            return _again(ctx, Dense, gradient)
        matrix, B, inputs, initial, states = ctx.saved_tensors

        def retreat(earlier: Tensor, later: Tensor) -> None:
            earlier.addmm_(later, matrix)

        adjoint = _adjoint(gradient, retreat)
        of_matrix = None
        if ctx.needs_input_grad[0]:
            # dL/dA = lambda_1 theta_0^T + sum_{t>1} lambda_t theta_{t-1}^T: the first term apart,
            # so that the states need not be copied behind theta_0.
            of_matrix = adjoint[0].mT @ initial
            of_matrix.addmm_(
                adjoint[1:].flatten(0, 1).mT, states.transpose(0, 1)[:-1].flatten(0, 1)
            )
        return _gradients(ctx, B, inputs, adjoint, of_matrix, adjoint[0] @ matrix)


class _InPlaceDiagonal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
        def advance(state: Tensor, previous: Tensor) -> None:
            state.addcmul_(values, previous)

        return _forward(ctx, values, B, inputs, initial, advance)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if through_graph(gradient):
            return _again(ctx, Diagonal, gradient)
        values, B, inputs, initial, states = ctx.saved_tensors

        def retreat(earlier: Tensor, later: Tensor) -> None:
            earlier.addcmul_(values, later)

        adjoint = _adjoint(gradient, retreat)
        of_values = None
        if ctx.needs_input_grad[0]:
            # Step by step, since all products at once would take one more array of the size of all
            # states; in float64, because up to N T terms are summed.
            previous = [initial, *states.unbind(1)[:-1]]
            of_values = torch.zeros_like(values, dtype=torch.float64)
            for one, before in zip(adjoint.unbind(0), previous, strict=True):
                of_values += (one * before).sum(0)
            of_values = of_values.to(values.dtype)
        return _gradients(ctx, B, inputs, adjoint, of_values, adjoint[0] * values)


def _forward(
    ctx: Any,
    tensor: Tensor,
    B: Tensor,
    inputs: Tensor,
    initial: Tensor,
    advance: Callable[[Tensor, Tensor], None],
) -> Tensor:
    # Time first, so that every step works on contiguous memory; the result is a view (N, T, D).
    states = torch.matmul(inputs.transpose(0, 1), B.mT)
    previous = initial
    for state in states.unbind(0):
        advance(state, previous)
        previous = state
    result = states.transpose(0, 1)
    ctx.save_for_backward(tensor, B, inputs, initial, result)
    return result


def _adjoint(gradient: Tensor, retreat: Callable[[Tensor, Tensor], None]) -> Tensor:
    """Return the adjoint states lambda_t, (T, N, D), from the gradient g_t (N, T, D)."""
    # A copy of g_t, to which A^T lambda_{t+1} is added in place.
    adjoint = gradient.transpose(0, 1).clone(memory_format=torch.contiguous_format)
    for t in range(len(adjoint) - 1, 0, -1):
        retreat(adjoint[t - 1], adjoint[t])
    return adjoint


def _gradients(
    ctx: Any,
    B: Tensor,
    inputs: Tensor,
    adjoint: Tensor,
    of_transition: Tensor | None,
    of_initial: Tensor,
) -> tuple[Tensor | None, ...]:
    length, batch, _ = adjoint.shape
    rows = adjoint.flatten(0, 1)
    needed = ctx.needs_input_grad
    # The narrow factor stands on the left: the other way round takes two to eight times as long.
    return (
        of_transition,
        (inputs.permute(2, 1, 0).flatten(1) @ rows).mT if needed[1] else None,
        (B.mT @ rows.mT).unflatten(1, (length, batch)).permute(2, 1, 0) if needed[2] else None,
        of_initial if needed[3] else None,
    )


def _again(
    ctx: Any, structure: type[Dense] | type[Diagonal], gradient: Tensor
) -> tuple[Tensor | None, ...]:
    def reference(tensor: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
        return recurrent(structure(tensor), inputs @ B.mT, initial)

    return differentiable_gradients(
        reference, ctx.saved_tensors[:4], gradient, ctx.needs_input_grad
    )
