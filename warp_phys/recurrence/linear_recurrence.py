"""The linear recurrence theta_t = A theta_{t-1} + B u_t, for whole series and step by step."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from warp_phys.recurrence.checks import check_clip, check_series, check_step, checked
from warp_phys.recurrence.choose import fastest
from warp_phys.recurrence.modes.convolution import convolutional
from warp_phys.recurrence.modes.scan import scan
from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.recurrence.overflow import warn_of_overflow
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems.errors import UsageError

__all__ = ["Mode", "linear_recurrence", "recurrence_step"]

Mode = Literal["auto", "recurrent", "convolutional", "scan"]
_MODES = get_args(Mode)


def linear_recurrence(
    A: Tensor | Transition,
    B: Tensor,
    inputs: Tensor,
    initial: Tensor,
    mode: Mode = "auto",
    *,
    clip: float | None = None,
) -> Tensor:
    r"""Return every state of a linear recurrence driven by a series of inputs.

    With theta_0 = `initial` and u_1, ..., u_T = `inputs`,

        theta_t = A theta_{t-1} + B u_t = A^t theta_0 + sum_{k=1}^{t} A^(t-k) B u_k.

    Each mode computes exactly this; they differ by rounding, which is small against
    \|A^t\| \|theta_0\| + sum_k \|A^(t-k)\| \|B u_k\|, and in time and memory:

    - "recurrent": one step after the other. O(T) steps in sequence.
    - "scan": a parallel scan. Chunks of steps run in parallel; what each chunk carries into the
      next follows the recurrence with a power of A, which is a scan again. O(log T) steps in
      sequence, two to three times the work; needs dense powers where A is dense or diagonal plus
      low rank. Falls back to "recurrent" where A is so far from normal that its powers are too
      inexact.
    - "convolutional": a causal convolution with the kernel A^k B. O(T^2) work.
    - "auto": the fastest of these or a fused kernel, by the structure and size of A, T, dtype and
      device: for `Identity` the closed form theta_0 + B (u_1 + ... + u_t); on the CPU compiled
      kernels for `Diagonal`, `ComplexDiagonal` and for `Dense` of up to 16 states, which write
      every state once and read it once for the gradients; for a low rank a small system for
      V^T theta, then the diagonal one; on a GPU the same kernels in Triton. Without a compiler
      PyTorch computes the same, more slowly (`show_versions` reports which one is used).

    No state depends on a later input: a missing value (NaN) affects only states from its time on.
    Where finite inputs make a state overflow, a RuntimeWarning names the sequence and the step.

    Args:
        A: transition, as a structure (`Identity`, `IdentityPlusLowRank`, `Diagonal`,
            `ComplexDiagonal`, `Dense`, `DiagonalPlusLowRank` or another subclass of `Transition`),
            a diagonal of shape (D,) or a matrix of shape (D, D).
        B: input matrix, shape (D, d).
        inputs: u_1, ..., u_T of N sequences, shape (N, T, d).
        initial: theta_0, shape (N, D), or (D,) for all sequences.
        mode: how to compute it, see above.
        clip: keeps every entry of a state within +-clip before the next step. The recurrence is
            then not linear, so that steps are sequential, with mode "auto" or "recurrent" only.

    Returns:
        theta_1, ..., theta_T, shape (N, T, D), differentiable in all four tensors.

    Raises:
        UsageError: a shape does not fit, dtypes or devices are mixed, the mode is unknown or does
            not go with `clip`.

    References:
        Nzoyem et al., Weight-space linear recurrent neural networks, arXiv 2506.01153, eq. 1.
        G. E. Blelloch, Prefix sums and their applications, Carnegie Mellon University,
        CMU-CS-90-190 (1990), sec. 1.4.
        E. Martin, C. Cundy, Parallelizing linear recurrent neural nets over sequence length, ICLR
        2018, arXiv 1709.04057.

    Example:
        >>> import torch
        >>> half = torch.tensor([0.5])
        >>> inputs = torch.tensor([[[1.0], [0.0], [2.0]]])
        >>> linear_recurrence(half, torch.ones(1, 1), inputs, torch.zeros(1)).flatten().tolist()
        [1.0, 0.5, 2.25]
    """
    if mode not in _MODES:
        raise UsageError(f"mode: expected one of {', '.join(_MODES)}, got {mode!r}")
    structure = checked(A, B, {"inputs": inputs, "initial": initial})
    batch, length = check_series(B, inputs, initial)
    check_clip(clip)
    if clip is not None and mode not in ("auto", "recurrent"):
        raise UsageError(
            f"mode: a clipped recurrence goes step by step, got {mode!r}; leave mode or clip out"
        )
    # An empty product has the right shape, dtype and graph.
    if length == 0:
        return inputs @ B.mT
    start = initial if initial.ndim == 2 else initial.expand(batch, -1)
    if clip is not None:
        return recurrent(structure, inputs @ B.mT, start, clip)
    states = _evaluated(structure, B, inputs, start, mode)
    warn_of_overflow(states, structure, B, inputs, start)
    return states


def _evaluated(
    structure: Transition, B: Tensor, inputs: Tensor, initial: Tensor, mode: Mode
) -> Tensor:
    if mode == "auto":
        return fastest(structure, B, inputs, initial)
    if mode == "convolutional":
        return convolutional(structure, B, inputs, initial)
    evaluate = scan if mode == "scan" else recurrent
    return evaluate(structure, inputs @ B.mT, initial)


def recurrence_step(
    A: Tensor | Transition,
    B: Tensor,
    inputs: Tensor,
    state: Tensor,
    *,
    clip: float | None = None,
) -> Tensor:
    """Take one step of the recurrence, for streams: theta_t = A theta_{t-1} + B u_t.

    Equal to `linear_recurrence` up to rounding, at constant memory.

    Args:
        A: transition, as for `linear_recurrence`.
        B: input matrix, shape (D, d).
        inputs: u_t of N sequences, shape (N, d).
        state: theta_{t-1}, shape (N, D).
        clip: keeps every entry of a state within +-clip.

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
    check_step("inputs", "state", B, inputs, state)
    check_clip(clip)
    following = structure.step(state, inputs @ B.mT)
    return following if clip is None else following.clamp(-clip, clip)
