"""The recurrence with few states by a compiled kernel: sequences side by side in vectors."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_int, c_int64, c_void_p
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from warp_phys._recurrence._derivatives import differentiable_gradients
from warp_phys._recurrence._kernel import SCALARS, kernel
from warp_phys._recurrence._reference import recurrent
from warp_phys._recurrence._transitions import Dense, Diagonal

LARGEST = 16
"""The most states the kernel takes."""

WIDEST = 8
"""Inputs up to this width are multiplied by B inside the kernel; wider ones by a matrix product."""


def available(dense: bool, dtype: torch.dtype) -> bool:
    """Return whether there is a compiled kernel for a dense or a diagonal A."""
    return kernel("_small", SCALAR=SCALARS[dtype], IS_DENSE=str(dense).lower()) is not None


def small_diagonal(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """The states (N, T, D) with A = diag(values), D up to `LARGEST`, on the CPU.

    Args:
        values: the diagonal, (D,).
        B: (D, d).
        inputs: (N, T, d).
        initial: (N, D).
    """
    states: Tensor = _SmallDiagonal.apply(values, B, inputs, initial)
    return states


def small_dense(matrix: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """The states (N, T, D) with A = matrix (D, D); as `small_diagonal` otherwise."""
    states: Tensor = _SmallDense.apply(matrix, B, inputs, initial)
    return states


class _SmallDiagonal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
        return _forward(ctx, False, values, B, inputs, initial)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _backward(ctx, False, Diagonal, gradient)


class _SmallDense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
        return _forward(ctx, True, matrix, B, inputs, initial)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _backward(ctx, True, Dense, gradient)


def _forward(
    ctx: Any, dense: bool, tensor: Tensor, B: Tensor, inputs: Tensor, initial: Tensor
) -> Tensor:
    batch, length, width = inputs.shape
    size = len(B)
    tensor, B, inputs = tensor.contiguous(), B.contiguous(), inputs.contiguous()
    initial = initial if initial.stride(1) == 1 else initial.contiguous()
    fits = 0 < width <= WIDEST
    states = inputs.new_empty((batch, length, size)) if fits else inputs @ B.mT
    _functions(dense, tensor.dtype)[0](
        tensor.data_ptr(),
        B.data_ptr(),
        inputs.data_ptr(),
        initial.data_ptr(),
        initial.stride(0),
        batch,
        length,
        size,
        width if fits else 0,
        torch.get_num_threads(),
        states.data_ptr(),
    )
    ctx.save_for_backward(tensor, B, inputs, initial, states)
    return states


def _backward(
    ctx: Any, dense: bool, structure: Callable[[Tensor], Dense | Diagonal], gradient: Tensor
) -> tuple[Tensor | None, ...]:
    tensor, B, inputs, initial, states = ctx.saved_tensors
    needed = ctx.needs_input_grad
    if torch.is_grad_enabled():

        def reference(tensor: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
            return recurrent(structure(tensor), inputs @ B.mT, initial)

        return differentiable_gradients(reference, (tensor, B, inputs, initial), gradient, needed)
    batch, length, size = states.shape
    width = inputs.shape[2]
    fits = 0 < width <= WIDEST
    by_sequence, by_step, by_state = gradient.stride()
    if by_state != 1 or by_step != size:
        gradient = gradient.contiguous()
        by_sequence = length * size
    to_tensor, to_B = torch.empty_like(tensor), torch.empty_like(B)
    to_inputs = torch.empty_like(inputs) if fits else torch.empty_like(states)
    to_initial = initial.new_empty((batch, size))
    _functions(dense, tensor.dtype)[1](
        tensor.data_ptr(),
        B.data_ptr(),
        inputs.data_ptr(),
        initial.data_ptr(),
        initial.stride(0),
        states.data_ptr(),
        gradient.data_ptr(),
        by_sequence,
        batch,
        length,
        size,
        width if fits else 0,
        torch.get_num_threads(),
        to_tensor.data_ptr(),
        to_B.data_ptr(),
        to_inputs.data_ptr(),
        to_initial.data_ptr(),
    )
    if not fits:
        adjoint = to_inputs
        to_B = (inputs.flatten(0, 1).mT @ adjoint.flatten(0, 1)).mT if needed[1] else to_B
        to_inputs = adjoint @ B if needed[2] else to_inputs
    found = (to_tensor, to_B, to_inputs, to_initial)
    return tuple(one if wanted else None for one, wanted in zip(found, needed, strict=True))


def _functions(dense: bool, dtype: torch.dtype) -> tuple[Any, Any]:
    library = kernel("_small", SCALAR=SCALARS[dtype], IS_DENSE=str(dense).lower())
    assert library is not None  # `available` was asked
    return _typed(library)


@lru_cache(maxsize=8)
def _typed(library: ctypes.CDLL) -> tuple[Any, Any]:
    forward, backward = library.run_forward, library.run_backward
    sizes = [c_int64, c_int64, c_int, c_int, c_int]  # N, T, D, width, threads
    start = [*[c_void_p] * 4, c_int64]
    forward.argtypes = [*start, *sizes, c_void_p]
    backward.argtypes = [*start, c_void_p, c_void_p, c_int64, *sizes, *[c_void_p] * 4]
    forward.restype = backward.restype = None
    return forward, backward
