"""Checks of the arguments of `linear_recurrence` and `recurrence_step`."""

from __future__ import annotations

from torch import Tensor

from warp_phys.recurrence.transitions.dense import Dense
from warp_phys.recurrence.transitions.diagonal import Diagonal
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems.errors import UsageError


def checked(A: Tensor | Transition, B: Tensor, others: dict[str, Tensor]) -> Transition:
    """Return A as a structure that fits B; all tensors must share one dtype and device."""
    tensors = {"B": B, **others}
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise UsageError(
                f"{name}: expected a torch tensor, got {type(value).__name__}; "
                "convert it with torch.as_tensor"
            )
        if not value.is_floating_point():
            raise UsageError(
                f"{name}: expected a real floating-point tensor, got {value.dtype}; "
                "convert it with .to(torch.float64)"
            )
    if B.ndim != 2 or B.shape[0] == 0:
        raise UsageError(f"B: expected shape (D, d), state by input width, got {tuple(B.shape)}")
    structure = as_transition(A, B.shape[0])
    # Mixed dtypes would be promoted silently, and kernels read memory as one dtype.
    tensors = {f"A ({name})": value for name, value in structure.tensors().items()} | others
    dtype, device = B.dtype, B.device
    for name, value in tensors.items():
        if value.dtype != dtype or value.device != device:
            raise UsageError(
                "expected one dtype and one device for A, B and all else, got "
                f"{name} of {value.dtype} on {value.device} and B of {dtype} on {device}; "
                "convert one of them with .to(...)"
            )
    return structure


def check_series(B: Tensor, inputs: Tensor, initial: Tensor) -> tuple[int, int]:
    """Return N and T of inputs (N, T, d), which B (D, d) and the initial state fit."""
    size, width = B.shape
    if inputs.ndim != 3 or inputs.shape[2] != width:
        raise UsageError(
            f"inputs: expected shape (N, T, {width}), {width} being the columns of B, "
            f"got {tuple(inputs.shape)}"
        )
    batch, length, _ = inputs.shape
    if initial.shape != (size,) and initial.shape != (batch, size):
        raise UsageError(
            f"initial: expected shape ({batch}, {size}), one state per sequence, or ({size},) "
            f"for all, got {tuple(initial.shape)}"
        )
    return batch, length


def check_step(inputs_name: str, state_name: str, B: Tensor, inputs: Tensor, state: Tensor) -> None:
    """Check one input (N, d) and one state (N, D) of every sequence against B (D, d)."""
    size, width = B.shape
    if inputs.ndim != 2 or inputs.shape[1] != width:
        raise UsageError(
            f"{inputs_name}: expected shape (N, {width}), {width} being the columns of B, "
            f"got {tuple(inputs.shape)}"
        )
    if tuple(state.shape) != (len(inputs), size):
        raise UsageError(
            f"{state_name}: expected shape ({len(inputs)}, {size}), one state per row of "
            f"{inputs_name}, got {tuple(state.shape)}"
        )


def check_clip(clip: float | None) -> None:
    """Check the bound of a clipped recurrence."""
    if clip is not None and not clip > 0:
        raise UsageError(f"clip: expected a positive bound or None, got {clip!r}")


def as_transition(A: Tensor | Transition, size: int) -> Transition:
    """Return a structure from what a caller gives for A.

    Args:
        A: A structure, a diagonal of shape (D,) or a matrix of shape (D, D).
        size: Width D of the state.

    Returns:
        The structure of that size: `Diagonal` for (D,), `Dense` for (D, D).

    Raises:
        UsageError: A is neither, or not of this size.

    Example:
        >>> import torch
        >>> as_transition(torch.ones(3), 3)
        Diagonal(size=3, dtype=torch.float32, device='cpu')
    """
    expected = f"A: expected a transition structure, a ({size},) or a ({size}, {size}) tensor"
    if isinstance(A, Tensor) and A.ndim in (1, 2) and all(n == size for n in A.shape):
        return Diagonal(A) if A.ndim == 1 else Dense(A)
    if isinstance(A, Tensor):
        raise UsageError(f"{expected} for a state of width {size}, got shape {tuple(A.shape)}")
    if not isinstance(A, Transition):
        raise UsageError(f"{expected}, got {type(A).__name__}")
    if A.size != size:
        raise UsageError(f"{expected} for a state of width {size}, got {A!r}")
    return A
