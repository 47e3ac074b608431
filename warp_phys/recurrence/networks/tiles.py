"""Decoding of all states in tiles of time, with gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from warp_phys.recurrence.checks import check_series, checked
from warp_phys.recurrence.choose import fastest
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems.errors import UsageError

BUDGET = 32 << 20
"""Bytes of states above which they are computed and decoded in tiles of time."""

# A tile of states that fits the cache, so that decoding reads it from there.
_TILE_BYTES = 4 << 20

Decode = Callable[[Tensor, int, int], tuple[Tensor, ...]]


def decode_states(
    A: Tensor | Transition,
    B: Tensor,
    inputs: Tensor,
    initial: Tensor,
    decode: Decode,
    *,
    tile: int | None = None,
) -> tuple[Tensor, ...]:
    r"""Decode theta_1, ..., theta_T tile by tile, holding one tile of states at a time.

    The states are those of `linear_recurrence`. Only the last state of each tile is kept, and the
    backward pass recomputes a tile (gradient checkpointing), so that with C steps per tile memory
    is O(N C D) instead of O(N T D).

    Args:
        A: transition, as for `linear_recurrence`.
        B: input matrix, shape (D, d).
        inputs: u_1, ..., u_T, shape (N, T, d).
        initial: theta_0, shape (N, D) or (D,).
        decode: returns tensors (N, M, ...) from the states theta_{t0+1}, ..., theta_{t1}, of shape
            (N, t1 - t0, D), t0 and t1. It must return the same when it is called again.
        tile: C; by default as many steps as fill a few MB.

    Returns:
        What `decode` returns, joined along the second axis; differentiable.

    Raises:
        UsageError: a shape does not fit, T is 0, `tile` is no positive whole number, or dtypes or
            devices are mixed.

    References:
        T. Chen, B. Xu, C. Zhang, C. Guestrin, Training deep nets with sublinear memory cost, arXiv
        1604.06174.

    Example:
        >>> import torch
        >>> half, one = torch.tensor([0.5]), torch.ones(1, 1)
        >>> def square(states, start, stop):
        ...     return (states**2,)
        >>> decode_states(half, one, torch.ones(1, 3, 1), torch.zeros(1), square)[0].flatten()
        tensor([1.0000, 2.2500, 3.0625])
    """
    structure = checked(A, B, {"inputs": inputs, "initial": initial})
    batch, length = check_series(B, inputs, initial)
    if length == 0:
        raise UsageError("inputs: expected at least one step to decode, got none")
    if tile is not None and (not isinstance(tile, int) or tile < 1):
        raise UsageError(f"tile: expected a positive whole number of steps, got {tile!r}")
    count = tile or tile_length(batch, structure.size, B)

    def run(state: Tensor, piece: Tensor, start: int) -> tuple[Tensor, ...]:
        states = fastest(structure, B, piece.contiguous(), state)
        # A copy, because a view would keep the memory of its whole tile.
        return (*decode(states, start, start + piece.shape[1]), states[:, -1].clone())

    state = initial if initial.ndim == 2 else initial.expand(batch, -1)
    found = []
    # One split, because the backward pass of every single slice would fill an array as long as the
    # series.
    for number, piece in enumerate(inputs.split(count, dim=1)):
        if torch.is_grad_enabled():
            *decoded, state = checkpoint(
                run, state, piece, number * count, use_reentrant=False, preserve_rng_state=False
            )
        else:
            *decoded, state = run(state, piece, number * count)
        found.append(decoded)
    return tuple(torch.cat(parts, dim=1) for parts in zip(*found, strict=True))


def tile_length(batch: int, size: int, like: Tensor) -> int:
    """Return how many steps of states (N, D) fill a tile."""
    return max(1, _TILE_BYTES // max(1, batch * size * like.element_size()))


def exceeds_budget(batch: int, length: int, size: int, like: Tensor) -> bool:
    """Return whether all states (N, T, D) take more memory than they should."""
    return batch * length * size * like.element_size() > BUDGET
