"""The linear recurrence theta_t = A theta_{t-1} + B u_t, for all t at once and step by step."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from warp_phys._transitions import Identity, Transition, as_transition
from warp_phys.systems._errors import UsageError

__all__ = ["Mode", "linear_recurrence", "recurrence_step"]

Mode = Literal["auto", "recurrent", "convolutional", "scan"]

# The scan advances chunks of this many steps side by side, the convolution sums this many lags
# per matrix product. Neither changes a result beyond rounding.
_CHUNK = 16
_LAGS = 32


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
    structure = _checked(A, B, {"inputs": inputs, "initial": initial})
    batch, length = _check_series(B, inputs, initial)
    if mode == "auto" and isinstance(structure, Identity):
        return initial.unsqueeze(-2) + inputs.cumsum(1) @ B.mT
    if length == 0:
        return inputs @ B.mT
    if mode == "auto":
        mode = _faster(structure, length)
    if mode == "convolutional":
        return _convolutional(structure, B, inputs, initial)
    evaluate = _scan if mode == "scan" else _recurrent
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
    structure = _checked(A, B, {"inputs": inputs, "state": state})
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


def _recurrent(structure: Transition, driven: Tensor, initial: Tensor) -> Tensor:
    """The states (M, T, D) from v_t = B u_t (M, T, D) and theta_0 (M, D), one after the other."""
    state = initial
    states = []
    # unbind, not indexing: the backward pass of driven[:, t] fills a whole (M, T, D) for every t.
    for driven_t in driven.unbind(1):
        state = structure.step(state, driven_t)
        states.append(state)
    return torch.stack(states, dim=1)


def _scan(structure: Transition, driven: Tensor, initial: Tensor) -> Tensor:
    """The states (M, T, D) from v_t = B u_t (M, T, D) and theta_0 (M, D), in O(log T) depth.

    With C steps to a chunk, the state at the end of chunk m obeys the same recurrence with A^C,
    driven by what chunk m reaches from a zero start. That recurrence, T / C long, is a scan again.
    """
    batch, length, size = driven.shape
    if length <= _CHUNK:
        return _recurrent(structure, driven, initial)
    # The powers and what is carried are kept in float64 whatever the dtype: the rounding of A^C is
    # amplified T / C times, and there are few of them.
    leap = structure.to(torch.float64).power(_CHUNK)
    if not leap.isfinite():
        # A^C overflows although the states may not (a zero start, zero inputs): inf * 0 is wrong.
        return _recurrent(structure, driven, initial)
    chunks = -(-length // _CHUNK)
    padded = pad(driven, (0, 0, 0, chunks * _CHUNK - length))
    blocks = padded.view(batch * chunks, _CHUNK, size)

    def reached(starts: Tensor) -> Tensor:
        """The ends of all chunks but the last, (M, chunks - 1, D)."""
        state = starts.view(-1, size)
        for driven_t in blocks.unbind(1):
            state = structure.step(state, driven_t)
        return state.view(batch, chunks, size)[:, :-1]

    def carried(ends: Tensor, first: Tensor) -> Tensor:
        """The starts of all chunks, (M, chunks, D)."""
        later = _scan(leap, ends.double(), first.double()).to(driven.dtype)
        return torch.cat([first[:, None], later], dim=1)

    starts = carried(reached(driven.new_zeros(batch, chunks, size)), initial)
    if not structure.elementwise:
        # For a non-normal A the rounding of A^C alone can spoil the carry. What the chunks really
        # reach tells by how much, and that error is carried by the same recurrence.
        starts = starts + carried(reached(starts) - starts[:, 1:], torch.zeros_like(initial))
    states = _recurrent(structure, blocks, starts.view(-1, size)).view(batch, chunks, _CHUNK, size)
    if not (structure.elementwise or _joined(states.detach(), starts.detach())):
        return _recurrent(structure, driven, initial)
    return states.view(batch, chunks * _CHUNK, size)[:, :length]


def _joined(states: Tensor, starts: Tensor) -> bool:
    """Whether every chunk of states (M, chunks, C, D) ends where the next starts, to rounding."""
    jump = (states[:, :-1, -1] - starts[:, 1:]).abs().amax(-1)
    largest = states[:, :-1].abs().amax((2, 3))
    rounding = 1000 * torch.finfo(states.dtype).eps * largest
    return bool(((jump <= rounding) & largest.isfinite()).all())


def _convolutional(structure: Transition, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """The states (N, T, D) as A^t theta_0 plus the causal convolution of u with A^k B.

    Summed directly: by FFT its rounding is relative to the largest state, which is fatal where A
    grows.
    """
    batch, length, _ = inputs.shape
    kernel = structure.orbit(B.mT, length)  # (T, d, D): the columns of A^k B for k = 0..T-1
    start = structure.apply(initial.reshape(-1, structure.size))
    free = structure.orbit(start, length).transpose(0, 1)
    if not (kernel.isfinite().all() and free.isfinite().all()):
        # A^k overflows although the states may not (a zero start, zero inputs): inf * 0 is wrong.
        return _recurrent(structure, inputs @ B.mT, initial.expand(batch, -1))
    states = free.expand(batch, -1, -1)
    # Overlapping views of u: row t holds u_{t-L+1}, ..., u_t, and nothing later.
    windows = pad(inputs, (0, 0, _LAGS - 1, 0)).unfold(1, _LAGS, 1).mT.flatten(2)
    for lag in range(0, length, _LAGS):
        taps = kernel[lag : lag + _LAGS].flip(0)
        taps = pad(taps, (0, 0, 0, 0, _LAGS - len(taps), 0)).flatten(0, 1)
        # bmm keeps the views for the backward pass, where matmul would keep L copies of u.
        part = torch.bmm(windows[:, : length - lag], taps.expand(batch, -1, -1))
        states = states + pad(part, (0, 0, lag, 0))
    return states


def _checked(A: Tensor | Transition, B: Tensor, others: dict[str, Tensor]) -> Transition:
    """A as a structure that fits B, all tensors being floating, of one dtype and one device."""
    for name, value in {"B": B, **others}.items():
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
    tensors = {f"A ({name})": value for name, value in structure.tensors().items()}
    for name, value in {**tensors, **others}.items():
        if (value.dtype, value.device) != (B.dtype, B.device):
            raise UsageError(
                "expected one dtype and one device for A, B and all else, got "
                f"{name} of {value.dtype} on {value.device} and B of {B.dtype} on {B.device}; "
                "convert one of them with .to(...)"
            )
    return structure


def _check_series(B: Tensor, inputs: Tensor, initial: Tensor) -> tuple[int, int]:
    """N and T of inputs (N, T, d), which B (D, d) and the initial state fit."""
    size, width = B.shape
    if inputs.ndim != 3 or inputs.shape[2] != width:
        raise UsageError(
            f"inputs: expected shape (N, T, {width}), {width} being the columns of B, "
            f"got {tuple(inputs.shape)}"
        )
    batch, length, _ = inputs.shape
    if tuple(initial.shape) not in ((size,), (batch, size)):
        raise UsageError(
            f"initial: expected shape ({batch}, {size}), one state per sequence, or ({size},) "
            f"for all, got {tuple(initial.shape)}"
        )
    return batch, length
