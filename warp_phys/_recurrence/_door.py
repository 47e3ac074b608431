"""The linear recurrence theta_t = A theta_{t-1} + B u_t, for all t at once and step by step."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from warp_phys._recurrence._checks import check_series, checked
from warp_phys._recurrence._convolution import convolutional
from warp_phys._recurrence._reference import recurrent
from warp_phys._recurrence._scan import scan
from warp_phys._recurrence._transitions import Identity, Transition
from warp_phys.systems._errors import UsageError

__all__ = ["Mode", "linear_recurrence", "recurrence_step"]

Mode = Literal["auto", "recurrent", "convolutional", "scan"]


def linear_recurrence(
    A: Tensor | Transition,
    B: Tensor,
    inputs: Tensor,
    initial: Tensor,
    mode: Mode = "auto",
) -> Tensor:
    r"""Every state of a linear recurrence driven by a series of inputs.

    With theta_0 = `initial` and u_1, ..., u_T = `inputs`,

        theta_t = A theta_{t-1} + B u_t = A^t theta_0 + sum_{k=1}^{t} A^(t-k) B u_k.

    Each mode computes exactly this; they differ by rounding, which is small against
    \|A^t\| \|theta_0\| + sum_k \|A^(t-k)\| \|B u_k\|, and in time and memory:

    - "recurrent": one step after the other. O(T) steps in sequence.
    - "scan": chunks of steps side by side, then what each chunk carries into the next by the
      recurrence with a power of A, and so on up. O(log T) steps in sequence, two to three times the
      work; needs dense powers where A is dense or diagonal plus low rank. Falls back to "recurrent"
      where A is so far from normal that its powers are too inexact.
    - "convolutional": a causal convolution with the kernel A^k B. O(T^2) work.
    - "auto": for `Identity` the closed form theta_0 + B (u_1 + ... + u_t), otherwise the faster of
      "recurrent" and "scan".

    No state depends on a later input: a missing value (NaN) spoils only states from its time on.

    Args:
        A: transition, as a structure (`Identity`, `Diagonal`, `Dense`, `DiagonalPlusLowRank`), a
            diagonal of shape (D,) or a matrix of shape (D, D).
        B: input matrix, shape (D, d).
        inputs: u_1, ..., u_T of N sequences, shape (N, T, d).
        initial: theta_0, shape (N, D), or (D,) for all sequences.
        mode: how to compute it, see above.

    Returns:
        theta_1, ..., theta_T, shape (N, T, D), differentiable in all four tensors.

    Raises:
        UsageError: a shape does not fit, dtypes or devices are mixed, or the mode is unknown.

    References:
        Nzoyem et al., Weight-space linear recurrent neural networks, arXiv 2506.01153, eq. 1.

    Example:
        >>> import torch
        >>> half = torch.tensor([0.5])
        >>> inputs = torch.tensor([[[1.0], [0.0], [2.0]]])
        >>> linear_recurrence(half, torch.ones(1, 1), inputs, torch.zeros(1)).flatten().tolist()
        [1.0, 0.5, 2.25]
    """
    if mode not in get_args(Mode):
        raise UsageError(f"mode: expected one of {', '.join(get_args(Mode))}, got {mode!r}")
    structure = checked(A, B, {"inputs": inputs, "initial": initial})
    batch, length = check_series(B, inputs, initial)
    if mode == "auto" and isinstance(structure, Identity):
        return initial.unsqueeze(-2) + inputs.cumsum(1) @ B.mT
    if length == 0:
        return inputs @ B.mT
    if mode == "auto":
        mode = _faster(structure, length)
    if mode == "convolutional":
        return convolutional(structure, B, inputs, initial)
    evaluate = scan if mode == "scan" else recurrent
    return evaluate(structure, inputs @ B.mT, initial.expand(batch, -1))


def recurrence_step(A: Tensor | Transition, B: Tensor, inputs: Tensor, state: Tensor) -> Tensor:
    """One step of the recurrence, for streams: theta_t = A theta_{t-1} + B u_t.

    Equal to `linear_recurrence` up to rounding, at constant memory.

    Args:
        A: transition, as for `linear_recurrence`.
        B: input matrix, shape (D, d).
        inputs: u_t of N sequences, shape (N, d).
        state: theta_{t-1}, shape (N, D).

    Returns:
        theta_t, shape (N, D).

    Raises:
        UsageError: a shape does not fit, or dtypes or devices are mixed.

    Example:
        >>> import torch
        >>> one = torch.ones(1, 1)
        >>> recurrence_step(torch.tensor([0.5]), one, one, 4 * one)
        tensor([[3.]])
    """
    structure = checked(A, B, {"inputs": inputs, "state": state})
    size, width = B.shape
    if inputs.ndim != 2 or inputs.shape[1] != width:
        raise UsageError(
            f"inputs: expected shape (N, {width}), {width} being the columns of B, "
            f"got {tuple(inputs.shape)}"
        )
    if tuple(state.shape) != (len(inputs), size):
        raise UsageError(
            f"state: expected shape ({len(inputs)}, {size}), one state per row of inputs, "
            f"got {tuple(state.shape)}"
        )
    return structure.step(state, inputs @ B.mT)


def _faster(structure: Transition, length: int) -> Mode:
    """The mode "auto" takes where there is no closed form, by A and T alone.

    Never by N: so a sequence is computed in the same way alone and in any batch. Measured forward
    and backward on one core, N = 1..4096, T = 21..2000, D = 4..512, rank 4. For a diagonal A with
    D <= 16 and T >= 128 the scan takes 0.04 to 0.8 times as long as the recurrence where N <= 128
    and 0.7 to 1.7 times where N >= 1024. For shorter series or wider states it gains little. For
    other A it takes 0.1 to 1.2 times as long where N <= 64, but 1.5 to 2 times where N = 1024 and
    up to 5 times for wider states. The convolution was never the fastest.
    """
    small = structure.elementwise and structure.size <= 16
    return "scan" if small and length >= 128 else "recurrent"
