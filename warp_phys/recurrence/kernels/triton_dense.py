"""The recurrence with a small dense A in Triton: a thread holds the whole state of a sequence.

Where the sequences alone do not fill the device, a long series is split into chunks, as in a
parallel scan (Martin and Cundy, ICLR 2018): the ends of all chunks from zero starts are computed
first, then, in float64 with a power of A, the starts of all chunks. Backward,
lambda_t = g_t + A^T lambda_{t+1} is the same recurrence in reversed time.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

from warp_phys.recurrence.derivatives import differentiable_gradients
from warp_phys.recurrence.kernels.triton_launch import (
    TILE,
    chunk_length,
    multiprocessors,
    on_device_of,
)
from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.recurrence.transitions.dense import Dense

# Sequences of one program, one for each thread of its single warp.
_ROWS = 32

# Programs that fill a multiprocessor, and the shortest chunk: powers of A take a dozen launches.
_PROGRAMS = 8
_SHORTEST = 1024

# Terms of the gradients of A and B that are summed in the dtype of the states.
_TERMS = 2048


def triton_dense(matrix: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return the states (N, T, D) with A = matrix, D at most 16, differentiable, on a GPU.

    The number of chunks follows from the sizes and the device, and with it the rounding of a state.

    Args:
        matrix: A, (D, D).
        B: (D, d).
        inputs: (N, T, d), of any strides.
        initial: (N, D), expanded or not.
    """
    batch, length, _ = inputs.shape
    programs = max(1, triton.cdiv(batch, _ROWS))
    wanted = _PROGRAMS * multiprocessors(inputs.device)
    # These kernels sum nothing over time, so that a series of any length may stay one chunk.
    chunk = chunk_length(length, programs, wanted, _SHORTEST) if programs < wanted else length
    return dense_in_chunks(matrix, B, inputs, initial, chunk)


def dense_in_chunks(
    matrix: Tensor, B: Tensor, inputs: Tensor, initial: Tensor, chunk: int
) -> Tensor:
    """Return the states as `triton_dense`, for a chunk that `TILE` divides, or at least T."""
    if 0 in inputs.shape[:2]:
        return initial.unsqueeze(1) @ matrix.mT + inputs @ B.mT
    if inputs.shape[2] == 0:
        B, inputs = pad(B, (0, 1)), pad(inputs, (0, 1))
    states: Tensor = _TritonDense.apply(matrix, B, inputs, initial, chunk)
    return states


class _TritonDense(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, matrix: Tensor, B: Tensor, inputs: Tensor, initial: Tensor, chunk: int
    ) -> Tensor:
        ctx.chunk = chunk
        with on_device_of(inputs):
            states = _states(matrix, B, inputs, initial, chunk, backwards=False)
        ctx.save_for_backward(matrix, B, inputs, initial, states)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *leaves, states = ctx.saved_tensors
        if torch.is_grad_enabled():
            needed = ctx.needs_input_grad[:4]
            return (*differentiable_gradients(_reference, leaves, gradient, needed), None)
        matrix, B, inputs, initial = leaves
        zero = matrix.new_zeros(1, 1).expand(len(initial), len(matrix))
        with on_device_of(gradient):
            adjoint = _states(matrix.mT, None, gradient, zero, ctx.chunk, backwards=True)
        # theta_{t-1} and u_t side by side: dL/dA and dL/dB are one product sum lambda_t [theta;
        # u]^T.
        before = torch.cat([initial.unsqueeze(1), states[:, :-1]], dim=1)
        sums = _products(adjoint, torch.cat([before, inputs], dim=2))
        of_matrix, of_b = sums.split([len(matrix), B.shape[1]], dim=1)
        return of_matrix, of_b, adjoint @ B, adjoint[:, 0] @ matrix, None


def _reference(matrix: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    return recurrent(Dense(matrix), inputs @ B.mT, initial)


def _products(left: Tensor, right: Tensor) -> Tensor:
    """Return the sum over sequences and steps of left right^T, (p, q), for (N, T, p), (N, T, q)."""
    left, right = left.flatten(0, 1), right.flatten(0, 1)
    whole = len(left) // _TERMS * _TERMS
    lefts, rights = (x[:whole].unflatten(0, (-1, _TERMS)) for x in (left, right))
    # Blocks of terms in the dtype of the states, which is fast, and their sum in float64.
    blocks = torch.bmm(lefts.mT, rights)
    rest = left[whole:].mT @ right[whole:]
    return (blocks.sum(0, dtype=torch.float64) + rest.double()).to(left.dtype)


def _states(
    matrix: Tensor,
    B: Tensor | None,
    drive: Tensor,
    initial: Tensor,
    chunk: int,
    *,
    backwards: bool,
) -> Tensor:
    """Return the states driven by B u_t, or by `drive` where B is None, from either end of time."""
    batch, length, _ = drive.shape
    states = initial.new_empty(batch, length, initial.shape[1])
    chunks = triton.cdiv(length, chunk)
    if chunks > 1:
        ends = states.new_empty(batch, chunks - 1, initial.shape[1], dtype=torch.float64)
        _launch(matrix, B, drive, ends, states, chunk, only_ends=True, backwards=backwards)
        # s_{m+1} = A^C s_m + end_m is the same recurrence, over chunks and driven by their ends.
        leap = torch.linalg.matrix_power(matrix.double(), chunk)
        first = initial.double()
        later = _states(leap, None, ends, first, chunks - 1, backwards=False)
        starts = torch.cat([first.unsqueeze(1), later], dim=1)
        _launch(matrix, B, drive, starts, states, chunk, only_ends=False, backwards=backwards)
        if _joined(states.flip(1) if backwards else states, later, chunk):
            return states
    starts = initial.unsqueeze(1)
    _launch(matrix, B, drive, starts, states, length, only_ends=False, backwards=backwards)
    return states


def _joined(states: Tensor, later: Tensor, chunk: int) -> bool:
    """Return whether all chunks but the last end where the next one starts, up to rounding.

    They do not where A is so far from normal that its power is too inexact, or where it overflows.
    """
    ends = states[:, chunk - 1 :: chunk][:, : later.shape[1]]
    largest = states.abs().amax((1, 2))
    rounding = 1000 * torch.finfo(states.dtype).eps * largest
    jump = (ends - later).abs().amax((1, 2))
    return bool(((jump <= rounding) & largest.isfinite()).all())


def _launch(
    matrix: Tensor,
    B: Tensor | None,
    drive: Tensor,
    carries: Tensor,
    states: Tensor,
    chunk: int,
    *,
    only_ends: bool,
    backwards: bool,
) -> None:
    batch, length, width = drive.shape
    size = len(matrix)
    count = carries.shape[1]
    _steps[(triton.cdiv(batch, _ROWS) * count,)](
        *(matrix.contiguous(), drive if B is None else B.contiguous(), drive, carries, states),
        *(batch, length, width, chunk, count, *drive.stride(), *carries.stride()),
        SIZE=size,
        STEPS=min(TILE, max(1, 32 // triton.next_power_of_2(size))),
        ROWS=_ROWS,
        GIVEN=B is None,
        ENDS=only_ends,
        BACKWARDS=backwards,
        num_warps=1,
    )


@triton.jit
def _steps(  # noqa: C901 (unrolled loops, no helper may hold tuples of them)
    matrix: tl.tensor,
    B: tl.tensor,
    drive: tl.tensor,
    carries: tl.tensor,
    states: tl.tensor,
    batch: tl.tensor,
    length: tl.tensor,
    width: tl.tensor,
    chunk: tl.tensor,
    chunks: tl.tensor,
    drive_row: tl.tensor,
    drive_step: tl.tensor,
    drive_column: tl.tensor,
    carry_row: tl.tensor,
    carry_chunk: tl.tensor,
    carry_lane: tl.tensor,
    SIZE: tl.constexpr,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    GIVEN: tl.constexpr,
    ENDS: tl.constexpr,
    BACKWARDS: tl.constexpr,
) -> None:
    """Compute all states from the starts of the chunks, or (ENDS) the last of each from zero."""
    program = tl.program_id(0)
    rows = ((program // chunks) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    there = rows < batch
    first = (program % chunks).to(tl.int64) * chunk
    steps = tl.minimum(length - first, chunk)
    if BACKWARDS:
        first = length - 1 - first
    onward = -1 if BACKWARDS else 1
    drive_at = drive + rows * drive_row + first * drive_step
    out = states + (rows * length + first) * SIZE
    carry_at = carries + rows * carry_row + (program % chunks).to(tl.int64) * carry_chunk
    a: tl.tuple = ()
    state: tl.tuple = ()
    for i in tl.static_range(SIZE * SIZE):
        a = a + (tl.load(matrix + i),)  # noqa: RUF005 (not in Triton)
    for i in tl.static_range(SIZE):
        if ENDS:
            one = tl.zeros((ROWS,), a[0].dtype)
        else:
            one = tl.load(carry_at + i * carry_lane, mask=there, other=0.0).to(a[0].dtype)
        state = state + (one,)  # noqa: RUF005
    for start in range(0, steps, STEPS):
        # B u_t of several steps before any step is taken, so that their loads overlap: a recurrence
        # that loads step by step waits for the memory at every step.
        driven: tl.tuple = ()
        for s in tl.static_range(STEPS):
            for i in tl.static_range(SIZE):
                if GIVEN:
                    at = drive_at + s * onward * drive_step + i * drive_column
                    one = tl.load(at, mask=there & (start + s < steps), other=0.0)
                else:
                    one = tl.zeros((ROWS,), a[0].dtype)
                driven = driven + (one,)  # noqa: RUF005
        if not GIVEN:
            for j in range(width):
                more: tl.tuple = ()
                for s in tl.static_range(STEPS):
                    at = drive_at + s * onward * drive_step + j * drive_column
                    u = tl.load(at, mask=there & (start + s < steps), other=0.0)
                    for i in tl.static_range(SIZE):
                        b = tl.load(B + i * width + j)
                        more = more + (driven[s * SIZE + i] + b * u,)  # noqa: RUF005
                driven = more
        for s in tl.static_range(STEPS):
            # theta_t = B u_t + A theta_{t-1}, unrolled, with A and the state in registers.
            following: tl.tuple = ()
            for i in tl.static_range(SIZE):
                one = driven[s * SIZE + i]
                for k in tl.static_range(SIZE):
                    one += a[i * SIZE + k] * state[k]
                following = following + (one,)  # noqa: RUF005
            state = following
            if not ENDS:
                for i in tl.static_range(SIZE):
                    at = out + s * onward * SIZE + i
                    tl.store(at, state[i], mask=there & (start + s < steps))
        drive_at += STEPS * onward * drive_step
        out += STEPS * onward * SIZE
    if ENDS:
        for i in tl.static_range(SIZE):
            tl.store(carry_at + i * carry_lane, state[i].to(tl.float64), mask=there)
