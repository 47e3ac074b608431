"""The diagonal recurrence in Triton: every state is written once forward, read once backward.

A program of one warp holds a tile of sequences by lanes of D and takes the steps of a chunk of time
one after the other, with B u_t computed in registers. Where the tiles alone do not fill the device
there are several chunks, as in a parallel scan (Martin and Cundy, ICLR 2018): the ends of all
chunks from zero starts are computed first, then, in float64, the starts s_{m+1} = a^C s_m + end_m,
and then all states from these starts.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from torch.nn.functional import pad

from warp_phys.recurrence.derivatives import differentiable_gradients
from warp_phys.recurrence.kernels.triton_diagonal_kernels import (
    adjoint_ends_kernel,
    backward_kernel,
    carry_kernel,
    forward_kernel,
)
from warp_phys.recurrence.kernels.triton_launch import (
    TILE,
    chunk_length,
    multiprocessors,
    on_device_of,
)
from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.recurrence.transitions.diagonal import Diagonal

# Numbers held by one program: one to four per thread of its warp.
_SMALLEST, _LARGEST = 32, 128

# Columns of B whose gradients one launch holds in registers.
_COLUMNS = 4

# Programs that fill a multiprocessor, and the shortest chunk. The backward pass uses fewer
# programs, with more loads in flight each, because there another chunk costs another pass over the
# gradient.
_FORWARD_PROGRAMS = 16
_BACKWARD_PROGRAMS = 4
_SHORTEST = 256


def triton_diagonal(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return the states (N, T, D) with A = diag(values), differentiable, on a GPU.

    The number of chunks follows from the sizes and the device, and with it the rounding of a state.

    Args:
        values: (D,).
        B: (D, d).
        inputs: (N, T, d), of any strides.
        initial: (N, D), expanded or not.
    """
    batch, length, _ = inputs.shape
    rows, lanes = _tile(len(values))
    programs = max(1, triton.cdiv(batch, rows) * triton.cdiv(len(values), lanes))
    processors = multiprocessors(inputs.device)
    chunks = [
        chunk_length(length, programs, each * processors, _SHORTEST)
        for each in (_FORWARD_PROGRAMS, _BACKWARD_PROGRAMS)
    ]
    return diagonal_in_chunks(values, B, inputs, initial, *chunks)


def diagonal_in_chunks(
    values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor, forward: int, backward: int
) -> Tensor:
    """Return the states as `triton_diagonal`, with given chunk lengths, multiples of `TILE`."""
    if 0 in inputs.shape[:2]:
        return initial.unsqueeze(1) * values + inputs @ B.mT
    if inputs.shape[2] == 0:
        # The kernels need at least one input: a column of zeros changes nothing.
        B, inputs = pad(B, (0, 1)), pad(inputs, (0, 1))
    states: Tensor = _TritonDiagonal.apply(values, B, inputs, initial, forward, backward)
    return states


class _TritonDiagonal(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        B: Tensor,
        inputs: Tensor,
        initial: Tensor,
        forward_chunk: int,
        backward_chunk: int,
    ) -> Tensor:
        ctx.chunk = backward_chunk
        with on_device_of(inputs):
            states = _states(values.contiguous(), B, inputs, initial, forward_chunk)
        ctx.save_for_backward(values, B, inputs, initial, states)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *leaves, states = ctx.saved_tensors
        if torch.is_grad_enabled():
            again = differentiable_gradients(_reference, leaves, gradient, ctx.needs_input_grad[:4])
            return (*again, None, None)
        values, B, inputs, initial = leaves
        with on_device_of(gradient):
            found = _gradients(
                *(values.contiguous(), B, inputs, initial, states, gradient, ctx.chunk),
                of_inputs=ctx.needs_input_grad[2],
            )
        return (*found, None, None)


def _reference(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    return recurrent(Diagonal(values), inputs @ B.mT, initial)


def _tile(size: int) -> tuple[int, int]:
    """Return the numbers of sequences and of lanes of one program."""
    lanes = min(_LARGEST, triton.next_power_of_2(size))
    return max(1, _SMALLEST // lanes), lanes


def _states(values: Tensor, B: Tensor, inputs: Tensor, initial: Tensor, chunk: int) -> Tensor:
    batch, length, width = inputs.shape
    size = len(values)
    rows, lanes = _tile(size)
    tiles = triton.cdiv(batch, rows) * triton.cdiv(size, lanes)
    chunks = triton.cdiv(length, chunk)
    states = inputs.new_empty(batch, length, size)
    starts = initial.unsqueeze(1)

    def run(carries: Tensor, count: int, only_ends: bool) -> None:
        strides = (*B.stride(), *inputs.stride(), *carries.stride())
        forward_kernel[(tiles * count,)](
            *(values, B, inputs, carries, states, batch, length, size, width, chunk, count),
            *strides,
            STEPS=TILE,
            ROWS=rows,
            LANES=lanes,
            ENDS=only_ends,
            num_warps=1,
        )

    if chunks > 1:
        starts = _carries(initial, chunks)
        run(starts, chunks - 1, only_ends=True)
        _carry(values, initial, starts, chunk)
    run(starts, chunks, only_ends=False)
    return states


def _gradients(
    values: Tensor,
    B: Tensor,
    inputs: Tensor,
    initial: Tensor,
    states: Tensor,
    gradient: Tensor,
    chunk: int,
    *,
    of_inputs: bool,
) -> tuple[Tensor | None, ...]:
    batch, length, width = inputs.shape
    size = len(values)
    rows, lanes = _tile(size)
    row_blocks, blocks = triton.cdiv(batch, rows), triton.cdiv(size, lanes)
    chunks = triton.cdiv(length, chunk)
    # Backward in time, the chunk computed before is the later one. It passes on lambda, (N, D),
    # which is zero after the last step.
    zero = values.new_zeros(1, 1).expand(batch, size)
    starts = zero.unsqueeze(1)
    if chunks > 1:
        starts = _carries(zero, chunks)
        adjoint_ends_kernel[(row_blocks * blocks * (chunks - 1),)](
            *(values, gradient, starts, batch, length, size, chunk, chunks - 1),
            *(*gradient.stride(), *starts.stride()),
            STEPS=TILE,
            ROWS=rows,
            LANES=lanes,
            num_warps=1,
        )
        _carry(values, zero, starts, chunk)
    of_initial = values.new_empty(batch, size)
    of_values = values.new_empty(row_blocks * chunks, size)
    of_b, of_u = [], []
    for first in range(0, width, _COLUMNS):
        columns = slice(first, min(first + _COLUMNS, width))
        some_b, some_u = B[:, columns], inputs[..., columns]
        count = some_b.shape[1]
        sums_b = values.new_empty(row_blocks * chunks, count, size)
        sums_u = values.new_empty((blocks, batch, length, count) if of_inputs else 0)
        backward_kernel[(row_blocks * blocks * chunks,)](
            *(values, some_b, some_u, initial, states, gradient, starts),
            *(of_initial, of_values, sums_b, sums_u, batch, length, size, chunk, chunks),
            *(*some_b.stride(), *some_u.stride(), *initial.stride()),
            *(*gradient.stride(), *starts.stride()),
            WIDTH=count,
            # As many steps as fit the registers, according to the compiler's report.
            STEPS=TILE if values.dtype == torch.float32 else TILE // 2,
            ROWS=rows,
            LANES=lanes,
            OF_INPUTS=of_inputs,
            num_warps=1,
        )
        # Sums over sequences and chunks in float64: each program's part has few terms, all have
        # many.
        of_b.append(sums_b.sum(0, dtype=torch.float64).to(B.dtype).mT)
        if of_inputs:
            of_u.append(sums_u[0] if blocks == 1 else sums_u.sum(0))
    return (
        of_values.sum(0, dtype=torch.float64).to(values.dtype),
        torch.cat(of_b, dim=1),
        torch.cat(of_u, dim=2) if of_inputs else None,
        of_initial,
    )


def _carries(like: Tensor, chunks: int) -> Tensor:
    """Return memory for the ends, then the starts, of all chunks: (N, chunks, D)."""
    batch, size = like.shape
    return like.new_empty(batch, chunks, size, dtype=torch.float64)


def _carry(values: Tensor, first: Tensor, carries: Tensor, chunk: int) -> None:
    """Replace the ends of all chunks, computed from zero starts, by their true starts."""
    batch, chunks, size = carries.shape
    rows, lanes = _tile(size)
    # A fourth of a^C, see `carry_kernel`; chunk lengths are multiples of eight.
    leap = values.double() ** (chunk // 4)
    carry_kernel[(triton.cdiv(batch, rows) * triton.cdiv(size, lanes),)](
        *(values, leap, first, carries, batch, size, chunks, *first.stride()),
        ROWS=rows,
        LANES=lanes,
        num_warps=1,
    )
