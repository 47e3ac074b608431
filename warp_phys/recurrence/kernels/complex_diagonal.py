"""The recurrence with a complex diagonal A by a fused C++ kernel, forward and backward."""

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
from warp_phys.recurrence.transitions.complex_diagonal import ComplexDiagonal


def available(dtype: torch.dtype) -> bool:
    """Return whether the kernel can be compiled."""
    return kernel("complex_diagonal", SCALAR=SCALARS[dtype]) is not None


def turning_recurrence(
    real: Tensor, imag: Tensor, B: Tensor, inputs: Tensor, initial: Tensor
) -> Tensor:
    """Return the states (N, T, D) with A = ComplexDiagonal(real, imag), on the CPU.

    As complex numbers, the adjoint of an entry a is lambda_t = g_t + conj(a) lambda_{t+1}, and the
    gradient of a is the sum over t of conj(theta_{t-1}) lambda_t.

    Args:
        real: (p,).
        imag: (q,), q up to p.
        B: (D, d), D = p + q.
        inputs: (N, T, d).
        initial: (N, D).
    """
    # Copies are made outside of the autograd function, so that they are part of the graph of second
    # derivatives.
    start = initial if initial.stride(1) == 1 else initial.contiguous()
    states: Tensor = _Kernel.apply(real.contiguous(), imag.contiguous(), B, inputs, start)
    return states


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, real: Tensor, imag: Tensor, B: Tensor, inputs: Tensor, initial: Tensor
    ) -> Tensor:
        states = (inputs @ B.mT).contiguous()
        batch, length, _ = states.shape
        _functions(real.dtype)[0](
            real.data_ptr(),
            imag.data_ptr(),
            initial.data_ptr(),
            initial.stride(0),
            batch,
            length,
            len(real),
            len(imag),
            torch.get_num_threads(),
            states.data_ptr(),
        )
        ctx.save_for_backward(real, imag, B, inputs, initial, states)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *given, states = ctx.saved_tensors
        needed = ctx.needs_input_grad
        if through_graph(gradient):
            return differentiable_gradients(_reference, given, gradient, needed)
        real, imag, B, inputs, initial = given
        batch, length, size = states.shape
        gradient = gradient if gradient.stride(2) == 1 else gradient.contiguous()
        to_real, to_imag = torch.empty_like(real), torch.empty_like(imag)
        adjoint, to_initial = torch.empty_like(states), states.new_empty(batch, size)
        _functions(real.dtype)[1](
            real.data_ptr(),
            imag.data_ptr(),
            initial.data_ptr(),
            initial.stride(0),
            states.data_ptr(),
            gradient.data_ptr(),
            gradient.stride(0),
            gradient.stride(1),
            batch,
            length,
            len(real),
            len(imag),
            torch.get_num_threads(),
            *(one.data_ptr() for one in (to_real, to_imag, adjoint, to_initial)),
        )
        # lambda_t is the gradient of v_t = B u_t, hence dL/dB = sum lambda_t u_t^T and dL/du_t =
        # B^T lambda_t, as two matrix products over all sequences and steps.
        rows = adjoint.flatten(0, 1)
        return (
            to_real,
            to_imag,
            (inputs.flatten(0, 1).mT @ rows).mT if needed[2] else None,
            (B.mT @ rows.mT).mT.unflatten(0, (batch, length)) if needed[3] else None,
            to_initial,
        )


def _reference(real: Tensor, imag: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    return recurrent(ComplexDiagonal(real, imag), inputs @ B.mT, initial)


def _functions(dtype: torch.dtype) -> tuple[Any, Any]:
    library = kernel("complex_diagonal", SCALAR=SCALARS[dtype])
    assert library is not None  # `available` was asked
    return _typed(library)


@lru_cache(maxsize=8)
def _typed(library: ctypes.CDLL) -> tuple[Any, Any]:
    forward, backward = library.run_forward, library.run_backward
    sizes: list[Any] = [*[c_int64] * 4, c_int]  # N, T, p, q, threads
    start: list[Any] = [*[c_void_p] * 3, c_int64]
    forward.argtypes = [*start, *sizes, c_void_p]
    backward.argtypes = [*start, c_void_p, c_void_p, c_int64, c_int64, *sizes, *[c_void_p] * 4]
    forward.restype = backward.restype = None
    return forward, backward
