"""The recurrence with a diagonal A by a compiled kernel: every state is written once."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_int64, c_void_p
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from warp_phys._recurrence._derivatives import differentiable_gradients
from warp_phys._recurrence._kernel import SCALARS, kernel
from warp_phys._recurrence._reference import recurrent
from warp_phys._recurrence._transitions import Diagonal

WIDEST = 4
"""Inputs up to this width are multiplied by B inside the kernel; wider ones by a matrix product."""


def available(dtype: torch.dtype) -> bool:
    """Return whether there is a compiled kernel."""
    return kernel("_diagonal", SCALAR=SCALARS[dtype]) is not None


def diagonal_recurrence(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """The states (N, T, D) with A = diag(values), on the CPU.

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
        inputs, initial = inputs.contiguous(), _rows(initial)
        fits = 0 < width <= WIDEST
        states = values.new_empty(batch, length, size) if fits else inputs @ B.mT
        forward, _ = _functions(values.dtype)
        contiguous = values.contiguous(), B.contiguous()
        forward(
            *(value.data_ptr() for value in (*contiguous, inputs, initial)),
            initial.stride(0),
            batch,
            length,
            size,
            width if fits else 0,
            torch.get_num_threads(),
            states.data_ptr(),
        )
        ctx.save_for_backward(values, B, inputs, initial, states)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *inputs_of, states = ctx.saved_tensors
        needed = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return differentiable_gradients(_reference, inputs_of, gradient, needed)
        values, B, inputs, initial = inputs_of
        batch, length, size = states.shape
        width = inputs.shape[2]
        fits = 0 < width <= WIDEST
        gradient = _steps(gradient)
        to_values, to_initial = torch.empty_like(values), values.new_empty(batch, size)
        to_B = B.new_empty(B.shape)
        to_inputs = values.new_empty(batch, length, width if fits else size)
        _, backward = _functions(values.dtype)
        contiguous = values.contiguous(), B.contiguous()
        backward(
            *(value.data_ptr() for value in (*contiguous, inputs, initial)),
            initial.stride(0),
            states.data_ptr(),
            gradient.data_ptr(),
            gradient.stride(0),
            gradient.stride(1),
            batch,
            length,
            size,
            width if fits else 0,
            torch.get_num_threads(),
            *(value.data_ptr() for value in (to_values, to_B, to_inputs, to_initial)),
        )
        if not fits:
            adjoint = to_inputs
            to_B = adjoint.flatten(0, 1).mT @ inputs.flatten(0, 1) if needed[1] else to_B
            to_inputs = adjoint @ B if needed[2] else to_inputs
        found = (to_values, to_B, to_inputs, to_initial)
        return tuple(one if wanted else None for one, wanted in zip(found, needed, strict=True))


def _rows(initial: Tensor) -> Tensor:
    """Rows that are contiguous, though maybe one and the same for all sequences."""
    return initial if initial.stride(1) == 1 else initial.contiguous()


def _steps(gradient: Tensor) -> Tensor:
    """A gradient whose last axis is contiguous; that of a plain sum stays one row."""
    if gradient.stride(2) == 1:
        return gradient
    if gradient.numel() and gradient.stride() == (0, 0, 0):
        return gradient[:1, :1].contiguous().expand(gradient.shape)
    return gradient.contiguous()


def _reference(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    return recurrent(Diagonal(values), inputs @ B.mT, initial)


def _functions(dtype: torch.dtype) -> tuple[Any, Any]:
    library = kernel("_diagonal", SCALAR=SCALARS[dtype])
    assert library is not None  # `available` was asked
    return _typed(library)


@lru_cache(maxsize=8)
def _typed(library: ctypes.CDLL) -> tuple[Any, Any]:
    forward, backward = library.run_forward, library.run_backward
    sizes = [c_int64, c_int64, c_int64, c_int64, c_int]  # N, T, D, width, threads
    start = [*[c_void_p] * 4, c_int64]
    forward.argtypes = [*start, *sizes, c_void_p]
    backward.argtypes = [*start, c_void_p, c_void_p, c_int64, c_int64, *sizes, *[c_void_p] * 4]
    forward.restype = backward.restype = None
    return forward, backward
