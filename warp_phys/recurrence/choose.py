"""Dispatch of the recurrence to the fastest kernel, by structure of A, dtype and device."""

from __future__ import annotations

from functools import singledispatch

from torch import Tensor

from warp_phys.recurrence.kernels import complex_diagonal as _complex
from warp_phys.recurrence.kernels import diagonal as _diagonal
from warp_phys.recurrence.kernels import small as _small
from warp_phys.recurrence.kernels import triton_launch as _triton_launch
from warp_phys.recurrence.kernels.library import SCALARS
from warp_phys.recurrence.modes.identity import identity_recurrence
from warp_phys.recurrence.modes.in_place import in_place_dense, in_place_diagonal
from warp_phys.recurrence.modes.low_rank import DiagonalEngine, chunk_length, low_rank
from warp_phys.recurrence.modes.scan import scan
from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.recurrence.transforms import transformed
from warp_phys.recurrence.transitions.complex_diagonal import ComplexDiagonal
from warp_phys.recurrence.transitions.dense import Dense
from warp_phys.recurrence.transitions.diagonal import Diagonal
from warp_phys.recurrence.transitions.diagonal_low_rank import DiagonalPlusLowRank
from warp_phys.recurrence.transitions.identity import Identity
from warp_phys.recurrence.transitions.transition import Transition

# For a diagonal plus low rank, single steps are faster than chunks shorter than this.
_SHORTEST_CHUNK = 16


def fastest(structure: Transition, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return the states (N, T, D) by the fastest method.

    The method depends on the structure and size of A, on T, dtype and device, but never on N: a
    sequence is computed in the same way alone and in any batch. (On a GPU the number of chunks that
    time is split into depends on N, so that results alone and in a batch differ by rounding.)

    Args:
        structure: A.
        B: (D, d).
        inputs: (N, T, d), T at least 1.
        initial: (N, D), or (D,) expanded.
    """
    # The closed form of the identity uses PyTorch's own operations, which all transforms support.
    if isinstance(structure, Identity):
        return identity_recurrence(B, inputs, initial)
    if not _suits_kernels(structure, B, inputs, initial):
        return _differentiable(structure, inputs @ B.mT, initial)
    return by_kernel(structure, B, inputs, initial)


@singledispatch
def by_kernel(structure: Transition, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return the states by the kernel registered for a structure; without one, by PyTorch."""
    return _differentiable(structure, inputs @ B.mT, initial)


@by_kernel.register
def _(structure: Diagonal, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    return _diagonal_engine(structure.size, B)(structure.values, B, inputs, initial)


@by_kernel.register
def _(structure: Dense, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    return _dense(structure.matrix, B, inputs, initial)


@by_kernel.register
def _(structure: DiagonalPlusLowRank, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    # For few states the dense kernel does less work than chunks with triangular systems.
    if structure.size <= _small.LARGEST:
        return _dense(structure.to_dense(), B, inputs, initial)
    chunk = chunk_length(structure)
    if chunk < _SHORTEST_CHUNK:
        return recurrent(structure, inputs @ B.mT, initial)
    engine = _diagonal_engine(structure.size, B)
    return low_rank(structure, B, inputs, initial, min(chunk, inputs.shape[1]), engine)


@by_kernel.register
def _(structure: ComplexDiagonal, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    if B.is_cpu and _complex.available(B.dtype):
        return _complex.turning_recurrence(structure.real, structure.imag, B, inputs, initial)
    return _differentiable(structure, inputs @ B.mT, initial)


def _diagonal_engine(size: int, like: Tensor) -> DiagonalEngine:
    if like.is_cpu:
        if size <= _small.LARGEST and _small.available():
            return _small.small_diagonal
        if _diagonal.available(like.dtype):
            return _diagonal.diagonal_recurrence
    elif _triton_launch.triton_available(like.device):
        from warp_phys.recurrence.kernels.triton_diagonal import triton_diagonal

        return triton_diagonal
    return in_place_diagonal


def _dense(matrix: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    if len(matrix) <= _small.LARGEST:
        if B.is_cpu and _small.available():
            return _small.small_dense(matrix, B, inputs, initial)
        if not B.is_cpu and _triton_launch.triton_available(B.device):
            from warp_phys.recurrence.kernels.triton_dense import triton_dense

            return triton_dense(matrix, B, inputs, initial)
    return in_place_dense(matrix, B, inputs, initial)


def _differentiable(structure: Transition, driven: Tensor, initial: Tensor) -> Tensor:
    """Return the states by PyTorch's own operations, by a parallel scan where it is faster."""
    # The scan needs O(log T) operations on long arrays instead of T on short ones, at two to three
    # times the arithmetic: it pays where the overhead per operation dominates.
    small = structure.elementwise and structure.size <= _small.LARGEST
    evaluate = scan if small and driven.shape[1] >= 128 else recurrent
    return evaluate(structure, driven, initial)


def _suits_kernels(structure: Transition, *others: Tensor) -> bool:
    """Return whether kernels may read the memory: only plain tensors, without active transforms."""
    if transformed() or others[0].dtype not in SCALARS or others[0].is_meta:
        return False
    # A tensor with the negative bit set holds its values unnegated in memory.
    return not any(value.is_neg() for value in (*structure.tensors().values(), *others))
