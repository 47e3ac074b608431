"""The Triton kernels of the diagonal recurrence; `triton_diagonal.py` explains how they are used.

Names ending in _row, _step, _lane, _column and _chunk are strides. Only the last chunk may be
shorter than the others; its missing steps are masked.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _place(
    tile: tl.tensor, batch: tl.tensor, size: tl.tensor, ROWS: tl.constexpr, LANES: tl.constexpr
) -> tl.tuple:
    """Return sequences (ROWS, 1) and lanes (1, LANES) of a tile, lanes first, and a mask."""
    blocks = tl.cdiv(size, LANES)
    # In int64: N T D may exceed the range of int32 offsets.
    rows = ((tile // blocks) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    lanes = ((tile % blocks) * LANES + tl.arange(0, LANES))[None, :]
    return rows, lanes, (rows < batch) & (lanes < size)


@triton.jit
def forward_kernel(
    values: tl.tensor,
    B: tl.tensor,
    inputs: tl.tensor,
    carries: tl.tensor,
    states: tl.tensor,
    batch: tl.tensor,
    length: tl.tensor,
    size: tl.tensor,
    width: tl.tensor,
    chunk: tl.tensor,
    chunks: tl.tensor,
    b_lane: tl.tensor,
    b_column: tl.tensor,
    u_row: tl.tensor,
    u_step: tl.tensor,
    u_column: tl.tensor,
    carry_row: tl.tensor,
    carry_chunk: tl.tensor,
    carry_lane: tl.tensor,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
    ENDS: tl.constexpr,
) -> None:
    """Compute all states from the starts of the chunks, or (ENDS) the last of each from zero."""
    program = tl.program_id(0)
    rows, lanes, there = _place(program // chunks, batch, size, ROWS, LANES)
    first = (program % chunks).to(tl.int64) * chunk
    steps = tl.minimum(length - first, chunk)
    a = tl.load(values + lanes, mask=lanes < size, other=0.0)
    b_at = B + lanes * b_lane
    u_at = inputs + rows * u_row + first * u_step
    out = states + (rows * length + first) * size + lanes
    carry_at = (
        carries
        + rows * carry_row
        + (program % chunks).to(tl.int64) * carry_chunk
        + lanes * carry_lane
    )
    if ENDS:
        state = tl.zeros((ROWS, LANES), a.dtype)
    else:
        state = tl.load(carry_at, mask=there, other=0.0).to(a.dtype)
    for start in range(0, steps, STEPS):
        # B u_t of several steps before any step is taken, so that their loads overlap.
        drive: tl.tuple = ()
        for _ in tl.static_range(STEPS):
            drive = drive + (tl.zeros((ROWS, LANES), a.dtype),)  # noqa: RUF005 (not in Triton)
        for j in range(width):
            b = tl.load(b_at + j * b_column, mask=lanes < size, other=0.0)
            more: tl.tuple = ()
            for s in tl.static_range(STEPS):
                known = (rows < batch) & (start + s < steps)
                u = tl.load(u_at + s * u_step + j * u_column, mask=known, other=0.0)
                more = more + (drive[s] + b * u,)  # noqa: RUF005
            drive = more
        for s in tl.static_range(STEPS):
            state = a * state + drive[s]
            if not ENDS:
                tl.store(out + s * size, state, mask=there & (start + s < steps))
        u_at += STEPS * u_step
        out += STEPS * size
    if ENDS:
        tl.store(carry_at, state.to(tl.float64), mask=there)


@triton.jit
def carry_kernel(
    values: tl.tensor,
    leap: tl.tensor,
    initial: tl.tensor,
    carries: tl.tensor,
    batch: tl.tensor,
    size: tl.tensor,
    chunks: tl.tensor,
    initial_row: tl.tensor,
    initial_lane: tl.tensor,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
) -> None:
    """Replace ends by starts, chunk by chunk: start' = a^C start + end; `leap` is a^(C/4).

    A fourth of the exponent, because a^C may overflow where its product with a small start does
    not. A start of zero stays zero, and an infinite one infinite, as in the recurrence itself.
    """
    rows, lanes, there = _place(tl.program_id(0), batch, size, ROWS, LANES)
    a = tl.load(values + lanes, mask=lanes < size, other=0.0)
    fourth = tl.load(leap + lanes, mask=lanes < size, other=0.0)
    # An underflow to zero would turn an infinite start into NaN (inf * 0): the smallest normal
    # number stands in for it.
    fourth = tl.where((fourth == 0.0) & (a != 0.0), 2.2250738585072014e-308, fourth)
    finite = tl.abs(a) < float("inf")
    at = initial + rows * initial_row + lanes * initial_lane
    state = tl.load(at, mask=there, other=0.0).to(tl.float64)
    at = carries + rows * chunks * size + lanes
    for c in range(chunks):
        end = tl.load(at, mask=there & (c < chunks - 1), other=0.0)
        tl.store(at, state, mask=there)
        leapt = state * fourth * fourth * fourth * fourth
        # 0 * inf is NaN, where step by step a state of zero would stay zero.
        state = tl.where((state == 0.0) & finite, 0.0, leapt) + end
        at += size


@triton.jit
def adjoint_ends_kernel(
    values: tl.tensor,
    gradient: tl.tensor,
    carries: tl.tensor,
    batch: tl.tensor,
    length: tl.tensor,
    size: tl.tensor,
    chunk: tl.tensor,
    chunks: tl.tensor,
    g_row: tl.tensor,
    g_step: tl.tensor,
    g_lane: tl.tensor,
    carry_row: tl.tensor,
    carry_chunk: tl.tensor,
    carry_lane: tl.tensor,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
) -> None:
    """Compute lambda at the end of each chunk from zero; chunks are counted from the last step."""
    program = tl.program_id(0)
    rows, lanes, there = _place(program // chunks, batch, size, ROWS, LANES)
    last = length - 1 - (program % chunks).to(tl.int64) * chunk
    a = tl.load(values + lanes, mask=lanes < size, other=0.0)
    g_at = gradient + rows * g_row + last * g_step + lanes * g_lane
    adjoint = tl.zeros((ROWS, LANES), a.dtype)
    for _ in range(0, chunk, STEPS):
        g: tl.tuple = ()
        for s in tl.static_range(STEPS):
            g = g + (tl.load(g_at - s * g_step, mask=there, other=0.0),)  # noqa: RUF005
        for s in tl.static_range(STEPS):
            # lambda_t = g_t + a lambda_{t+1}.
            adjoint = a * adjoint + g[s]
        g_at -= STEPS * g_step
    at = (
        carries
        + rows * carry_row
        + (program % chunks).to(tl.int64) * carry_chunk
        + lanes * carry_lane
    )
    tl.store(at, adjoint.to(tl.float64), mask=there)


@triton.jit
def backward_kernel(
    values: tl.tensor,
    B: tl.tensor,
    inputs: tl.tensor,
    initial: tl.tensor,
    states: tl.tensor,
    gradient: tl.tensor,
    carries: tl.tensor,
    of_initial: tl.tensor,
    of_values: tl.tensor,
    of_b: tl.tensor,
    of_u: tl.tensor,
    batch: tl.tensor,
    length: tl.tensor,
    size: tl.tensor,
    chunk: tl.tensor,
    chunks: tl.tensor,
    b_lane: tl.tensor,
    b_column: tl.tensor,
    u_row: tl.tensor,
    u_step: tl.tensor,
    u_column: tl.tensor,
    initial_row: tl.tensor,
    initial_lane: tl.tensor,
    g_row: tl.tensor,
    g_step: tl.tensor,
    g_lane: tl.tensor,
    carry_row: tl.tensor,
    carry_chunk: tl.tensor,
    carry_lane: tl.tensor,
    WIDTH: tl.constexpr,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
    OF_INPUTS: tl.constexpr,
) -> None:
    """Compute lambda_t = g_t + a lambda_{t+1} backward through a chunk, and sum the gradients."""
    program = tl.program_id(0)
    tile = program // chunks
    blocks = tl.cdiv(size, LANES)
    rows, lanes, there = _place(tile, batch, size, ROWS, LANES)
    done = (program % chunks).to(tl.int64) * chunk
    steps = tl.minimum(length - done, chunk)
    last = length - 1 - done
    a = tl.load(values + lanes, mask=lanes < size, other=0.0)
    b: tl.tuple = ()
    sums_b: tl.tuple = ()
    for j in tl.static_range(WIDTH):
        b_at = B + lanes * b_lane + j * b_column
        b = b + (tl.load(b_at, mask=lanes < size, other=0.0),)  # noqa: RUF005
        sums_b = sums_b + (tl.zeros((ROWS, LANES), a.dtype),)  # noqa: RUF005
    sums_a = tl.zeros((ROWS, LANES), a.dtype)
    start_at = initial + rows * initial_row + lanes * initial_lane
    theta_0 = tl.load(start_at, mask=there, other=0.0)
    carry_at = (
        carries
        + rows * carry_row
        + (program % chunks).to(tl.int64) * carry_chunk
        + lanes * carry_lane
    )
    adjoint = tl.load(carry_at, mask=there, other=0.0).to(a.dtype)
    g_at = gradient + rows * g_row + last * g_step + lanes * g_lane
    before_at = states + (rows * length + last - 1) * size + lanes
    u_at = inputs + rows * u_row + last * u_step
    u_out = of_u + (((tile % blocks) * batch + rows) * length + last) * WIDTH
    for start in range(0, steps, STEPS):
        # All loads of several steps before any step is taken, so that they overlap.
        g: tl.tuple = ()
        before: tl.tuple = ()
        u: tl.tuple = ()
        for s in tl.static_range(STEPS):
            known = start + s < steps
            g = g + (tl.load(g_at - s * g_step, mask=there & known, other=0.0),)  # noqa: RUF005
            t = last - start - s
            theta = tl.load(before_at - s * size, mask=there & (t > 0), other=0.0)
            before = before + (tl.where(t == 0, theta_0, theta),)  # noqa: RUF005
            for j in tl.static_range(WIDTH):
                at = u_at - s * u_step + j * u_column
                u = u + (tl.load(at, mask=(rows < batch) & known, other=0.0),)  # noqa: RUF005
        for s in tl.static_range(STEPS):
            known = start + s < steps
            # dL/da += lambda_t theta_{t-1}; dL/dB_j += lambda_t u_tj; dL/du_tj = sum_i B_ij
            # lambda_ti. Steps before the first one of a short chunk must leave lambda as it is.
            adjoint = tl.where(known, a * adjoint + g[s], adjoint)
            sums_a += tl.where(known, adjoint * before[s], 0.0)
            more: tl.tuple = ()
            for j in tl.static_range(WIDTH):
                more = more + (sums_b[j] + adjoint * u[s * WIDTH + j],)  # noqa: RUF005
                if OF_INPUTS:
                    of_one = tl.sum(adjoint * b[j], axis=1)[:, None]
                    at = u_out - s * WIDTH + j
                    tl.store(at, of_one, mask=(rows < batch) & known)
            sums_b = more
        g_at -= STEPS * g_step
        before_at -= STEPS * size
        u_at -= STEPS * u_step
        u_out -= STEPS * WIDTH
    # The chunk that ends at the first step passes on dL/dtheta_0 = a lambda_1.
    if program % chunks == chunks - 1:
        tl.store(of_initial + rows * size + lanes, a * adjoint, mask=there)
    lane = (tile % blocks) * LANES + tl.arange(0, LANES)
    part = ((tile // blocks) * chunks + program % chunks).to(tl.int64)
    tl.store(of_values + part * size + lane, tl.sum(sums_a, axis=0), mask=lane < size)
    for j in tl.static_range(WIDTH):
        at = of_b + (part * WIDTH + j) * size + lane
        tl.store(at, tl.sum(sums_b[j], axis=0), mask=lane < size)
