"""The recurrence with few states by a fused C++ kernel, one sequence in each SIMD lane."""

from __future__ import annotations

from ctypes import c_int, c_int64, c_void_p
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from warp_phys.recurrence.checks import as_transition
from warp_phys.recurrence.derivatives import differentiable_gradients
from warp_phys.recurrence.kernels.library import kernel
from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.recurrence.transforms import through_graph

LARGEST = 16
"""The largest state D that the kernel takes."""


def available() -> bool:
    """Return whether the kernel can be compiled."""
    return kernel("small") is not None


def small_diagonal(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return the states (N, T, D) with A = diag(values), on the CPU.

    Few states do not fill a SIMD vector, so that a vector holds one state of several sequences. The
    formulas of the gradients are in `modes.in_place`.

    Args:
        values: the diagonal, (D,), D at most `LARGEST`.
        B: (D, d).
        inputs: (N, T, d).
        initial: (N, D).
    """
    return _states(values, B, inputs, initial)


def small_dense(matrix: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return the states (N, T, D) with A = matrix (D, D); as `small_diagonal` otherwise."""
    return _states(matrix, B, inputs, initial)


def _states(A: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    # Copies are made outside of the autograd function, so that they are part of the graph of second
    # derivatives.
    start = initial if initial.stride(1) == 1 else initial.contiguous()
    states: Tensor = _Kernel.apply(A.contiguous(), B.contiguous(), inputs.contiguous(), start)
    return states


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
        batch, length, _ = inputs.shape
        states = B.new_empty((batch, length, len(B)))
        forward, _ = _functions(B.dtype)
        forward(*_problem(A, B, inputs, initial), states.data_ptr())
        ctx.save_for_backward(A, B, inputs, initial, states)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *leaves, states = ctx.saved_tensors
        needed = ctx.needs_input_grad
        if through_graph(gradient):
            return differentiable_gradients(_reference, leaves, gradient, needed)
        # The kernel transposes contiguous sequences; an expanded gradient must be written out.
        gradient = gradient.contiguous()
        found = [
            torch.empty_like(value, memory_format=torch.contiguous_format) if wanted else None
            for value, wanted in zip(leaves, needed, strict=True)
        ]
        _, backward = _functions(states.dtype)
        backward(
            *_problem(*leaves),
            states.data_ptr(),
            gradient.data_ptr(),
            *(None if value is None else value.data_ptr() for value in found),
        )
        return tuple(found)


def _reference(A: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    return recurrent(as_transition(A, len(B)), inputs @ B.mT, initial)


def _problem(A: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> tuple[int, ...]:
    """Return the first arguments of both functions of the kernel, see `small.cpp`."""
    return (
        A.data_ptr(),
        B.data_ptr(),
        inputs.data_ptr(),
        initial.data_ptr(),
        initial.stride(0),
        inputs.shape[0],
        inputs.shape[1],
        *B.shape,
        A.ndim == 2,
        torch.get_num_threads(),
    )


@lru_cache(maxsize=2)
def _functions(dtype: torch.dtype) -> tuple[Any, Any]:
    library = kernel("small")
    assert library is not None  # `available` was asked
    name = "float" if dtype == torch.float32 else "double"
    forward, backward = library[f"forward_{name}"], library[f"backward_{name}"]
    # The tensors and the stride of the initial states, then N, T, D, d, dense, threads.
    problem: list[Any] = [*[c_void_p] * 4, *[c_int64] * 3, *[c_int] * 4]
    forward.argtypes = [*problem, c_void_p]
    backward.argtypes = [*problem, *[c_void_p] * 6]
    forward.restype = backward.restype = None
    return forward, backward
