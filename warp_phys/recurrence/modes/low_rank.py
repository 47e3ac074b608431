"""The recurrence with A = diag(a) + U V^T in chunks: first V^T theta, then all states."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from warp_phys.recurrence.transitions.diagonal import Diagonal
from warp_phys.recurrence.transitions.diagonal_low_rank import DiagonalPlusLowRank

DiagonalEngine = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

# Largest number of steps per chunk, and largest size of the triangular system of a chunk.
_LONGEST = 128
_UNKNOWNS = 512

# How much a diagonal beyond 1 may grow over a chunk; rounding errors grow by the same factor.
_GROWTH = 16.0


def chunk_length(transition: DiagonalPlusLowRank) -> int:
    """Return the number of steps per chunk: few where the diagonal grows or the rank is large."""
    rank = transition.left.shape[1]
    longest = min(_LONGEST, _UNKNOWNS // max(1, rank))
    largest = float(transition.diagonal.detach().abs().max())
    if largest > 1.0:
        # max|a|^C <= growth.
        longest = min(longest, int(math.log(_GROWTH) / math.log(largest)))
    return max(longest, 1) if math.isfinite(largest) else 1


def low_rank(
    transition: DiagonalPlusLowRank,
    B: Tensor,
    inputs: Tensor,
    initial: Tensor,
    chunk: int,
    diagonal: DiagonalEngine,
) -> Tensor:
    r"""Return the states (N, T, D), in chunks of C steps.

    With z_t = V^T theta_{t-1}, theta_t = a theta_{t-1} + [B, U] [u_t; z_t] has a diagonal A. In a
    chunk that starts from s, with kernels over lags that all sequences share,

        z_t = V^T a^t s + sum_{k < t} V^T a^(t-1-k) (B u_k + U z_k),    t = 0, ..., C - 1,

    a unit lower triangular system of size C r, for z_t depends on earlier z_k alone. The next chunk
    starts from what [u; z] make of s. When the starts of all chunks and all z are known, the chunks
    are independent sequences of a diagonal recurrence.

    Args:
        transition: A.
        B: (D, d).
        inputs: (N, T, d).
        initial: (N, D).
        chunk: C, from `chunk_length`.
        diagonal: Evaluates the recurrence with a diagonal A.

    References:
        A. Gu, K. Goel, C. Re, Efficiently modeling long sequences with structured state spaces,
        ICLR 2022, arXiv 2111.00396, for diagonal plus low rank in recurrences.
        S. Yang et al., Parallelizing linear transformers with the delta rule over sequence length,
        NeurIPS 2024, arXiv 2406.06484, for triangular systems by chunks.
    """
    batch, length, width = inputs.shape
    size = transition.size
    chunks = -(-length // chunk)
    # Zeros fill up the last chunk; the states after the last input are cut off again.
    blocks = pad(inputs, (0, 0, 0, chunks * chunk - length)).reshape(batch, chunks, chunk, width)
    both = torch.cat([B, transition.left], dim=1)
    lags = _Lags(transition, both, chunk, width)
    start, starts, feedback = initial, [], []
    for number, block in enumerate(blocks.unbind(1)):
        starts.append(start)
        feedback.append(lags.feedback(start, block))
        if number < chunks - 1:
            start = lags.end(start, torch.cat([block, feedback[-1]], dim=-1))
    driven = torch.cat([blocks, torch.stack(feedback, 1)], dim=-1).flatten(0, 1)
    # With [u; z] known, theta_t = a theta_{t-1} + [B, U] [u_t; z_t] has a diagonal A, and the
    # chunks are N * chunks independent sequences.
    states = diagonal(transition.diagonal, both, driven, torch.stack(starts, 1).flatten(0, 1))
    return states.reshape(batch, chunks * chunk, size)[:, :length]


class _Lags:
    """Convolution kernels: the effect of inputs and start of a chunk on V^T theta and its end.

    Attributes:
        length: C.
    """

    def __init__(
        self, transition: DiagonalPlusLowRank, both: Tensor, chunk: int, width: int
    ) -> None:
        diagonal = Diagonal(transition.diagonal)
        rank = transition.left.shape[1]
        self._shape = (chunk, rank)
        # (C, r, D) rows of V^T a^t, and (C, r, d + r) of V^T a^t [B, U].
        self._rows = diagonal.orbit(transition.right.mT, chunk)
        kernel = self._rows @ both
        self._direct = _lower_blocks(kernel[..., :width])
        eye = torch.eye(chunk * rank, dtype=both.dtype, device=both.device)
        # z = known + L z with L strictly lower block triangular, so I - L is unit lower triangular
        # and regular whatever the numbers are: forward substitution, without pivots.
        self._system = eye - _lower_blocks(kernel[..., width:])
        # (C, d + r, D) of a^(C-1-t) [B, U]^T, and a^C.
        self._to_end = diagonal.orbit(both.mT, chunk).flip(0).flatten(0, 1)
        self._leap = transition.diagonal**chunk

    def feedback(self, start: Tensor, block: Tensor) -> Tensor:
        """Return z (N, C, r) of a chunk from its start (N, D) and inputs (N, C, d)."""
        # As 0 * NaN is NaN, the zeros of a triangular matrix would spread a missing input to
        # earlier steps. It reaches the later ones through the diagonal recurrence all the same.
        finite = torch.where(block.isfinite(), block, 0.0)
        known = start @ self._rows.flatten(0, 1).mT + finite.flatten(1) @ self._direct.mT
        solved = torch.linalg.solve_triangular(
            self._system, known.mT, upper=False, unitriangular=True
        )
        return solved.mT.unflatten(1, self._shape)

    def end(self, start: Tensor, driven: Tensor) -> Tensor:
        """Return theta after the chunk, (N, D), from [u; z] (N, C, d + r)."""
        return torch.addmm(self._leap * start, driven.flatten(1), self._to_end)


def _lower_blocks(kernel: Tensor) -> Tensor:
    """Return the strictly lower block Toeplitz matrix (C r, C k) of kernels (C, r, k) by lag."""
    length, rank, width = kernel.shape
    # Block (t, k) is the kernel of lag t - 1 - k for k < t, and zero otherwise: C + 1 leading
    # blocks of zeros turn all lags that do not exist into valid indices.
    shifted = torch.cat([kernel.new_zeros(length + 1, rank, width), kernel[:-1]])
    step = torch.arange(length, device=kernel.device)
    blocks = shifted[length + step[:, None] - step]  # (C, C, r, k): the kernel of lag t - k
    return blocks.permute(0, 2, 1, 3).reshape(length * rank, length * width)
