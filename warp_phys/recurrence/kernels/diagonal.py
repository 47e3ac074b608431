"""The recurrence with a diagonal A by a fused C++ kernel, forward and backward."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_int64, c_void_p
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from warp_phys.recurrence.derivatives import differentiable_gradients
from warp_phys.recurrence.kernels.library import SCALARS, kernel
from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.recurrence.transforms import through_graph
from warp_phys.recurrence.transitions.diagonal import Diagonal

WIDEST = 16
"""Inputs up to this width are multiplied by B in the kernel; wider ones by a matrix product."""

_PRODUCTS = -1
"""In place of a width: the kernel is given the products."""


def available(dtype: torch.dtype) -> bool:
    """Return whether the kernel can be compiled."""
    return kernel("diagonal", SCALAR=SCALARS[dtype]) is not None


def diagonal_recurrence(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return the states (N, T, D) with A = diag(values), on the CPU.

    Memory traffic decides the time: B u_t is computed in registers, and every state is written once
    and read once for the gradients, whose formulas are in `modes.in_place`.

    Args:
        values: the diagonal, (D,).
        B: (D, d).
        inputs: (N, T, d).
        initial: (N, D).
    """
    states: Tensor = _Kernel.apply(values, B, inputs, initial)
    return states


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
        batch, length, width = inputs.shape
        size = len(values)
        given = (values, B, inputs, initial)
        if width > WIDEST:
            # For wide inputs a matrix product is compute-bound and a library call is faster,
            # although it stores B u_t once.
            inputs, width = inputs @ B.mT, _PRODUCTS
        states = values.new_empty(batch, length, size)
        forward, _ = _functions(values.dtype)
        regular = _regular(values, B, inputs, initial)
        forward(
            *(value.data_ptr() for value in regular),
            regular[-1].stride(0),
            batch,
            length,
            size,
            width,
            torch.get_num_threads(),
            states.data_ptr(),
        )
        ctx.save_for_backward(*given, states)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *inputs_of, states = ctx.saved_tensors
        needed = ctx.needs_input_grad
        if through_graph(gradient):
            return differentiable_gradients(_reference, inputs_of, gradient, needed)
        batch, length, size = states.shape
        width = inputs_of[2].shape[2]
        wide = width > WIDEST
        gradient = _steps(gradient)
        shapes = ((size,), (size, width), (batch, length, size if wide else width), (batch, size))
        found = [states.new_empty(shape) for shape in shapes]
        _, backward = _functions(states.dtype)
        regular = _regular(*inputs_of)
        backward(
            *(value.data_ptr() for value in regular),
            regular[-1].stride(0),
            states.data_ptr(),
            gradient.data_ptr(),
            gradient.stride(0),
            gradient.stride(1),
            batch,
            length,
            size,
            _PRODUCTS if wide else width,
            torch.get_num_threads(),
            *(value.data_ptr() for value in found),
        )
        if wide:
            found[1:3] = _through_products(found[2], *inputs_of[1:3])
        return tuple(one if wanted else None for one, wanted in zip(found, needed, strict=True))


def _through_products(adjoint: Tensor, B: Tensor, inputs: Tensor) -> list[Tensor]:
    """Return the gradients of B and inputs from those of the products B u_t (N, T, D)."""
    rows = adjoint.flatten(0, 1)
    return [rows.mT @ inputs.flatten(0, 1), (rows @ B).unflatten(0, adjoint.shape[:2])]


def _regular(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> tuple[Tensor, ...]:
    """Return contiguous tensors; `initial` may remain one row for all sequences.

    They must not be saved for the backward pass: second derivatives need the original tensors.
    """
    rows = initial if initial.stride(1) == 1 else initial.contiguous()
    return values.contiguous(), B.contiguous(), inputs.contiguous(), rows


def _steps(gradient: Tensor) -> Tensor:
    """Return a gradient whose last axis is contiguous; that of a plain sum stays one row."""
    if gradient.stride(2) == 1:
        return gradient
    # The gradient of `states.sum()` is one number expanded with strides of zero: a single row of it
    # is copied, not (N, T, D) numbers.
    if gradient.numel() and gradient.stride() == (0, 0, 0):
        return gradient[:1, :1].contiguous().expand(gradient.shape)
    return gradient.contiguous()


def _reference(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    return recurrent(Diagonal(values), inputs @ B.mT, initial)


def _functions(dtype: torch.dtype) -> tuple[Any, Any]:
    library = kernel("diagonal", SCALAR=SCALARS[dtype])
    assert library is not None  # `available` was asked
    return _typed(library)


@lru_cache(maxsize=8)
def _typed(library: ctypes.CDLL) -> tuple[Any, Any]:
    forward, backward = library.run_forward, library.run_backward
    sizes: list[Any] = [c_int64, c_int64, c_int64, c_int64, c_int]  # N, T, D, width, threads
    start: list[Any] = [*[c_void_p] * 4, c_int64]
    forward.argtypes = [*start, *sizes, c_void_p]
    backward.argtypes = [*start, c_void_p, c_void_p, c_int64, c_int64, *sizes, *start[:4]]
    forward.restype = backward.restype = None
    return forward, backward
