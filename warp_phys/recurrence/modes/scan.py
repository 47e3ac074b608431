"""The recurrence as a parallel scan: chunks in parallel, then their carries, recursively."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.recurrence.transitions.transition import Transition

# Steps per chunk. It changes results by rounding only.
_CHUNK = 16


def scan(structure: Transition, driven: Tensor, initial: Tensor) -> Tensor:
    r"""Return the states (M, T, D) from v_t = B u_t (M, T, D) and theta_0 (M, D).

    With C steps per chunk and r_m the end of chunk m from a zero start, the state s_m at its end
    obeys the same recurrence, of length T / C, which is evaluated by a scan again:

        s_m = A^C s_{m-1} + r_m,    r_m = sum_{k=1}^{C} A^(C-k) v_{mC-C+k},    s_0 = theta_0.

    This is the associative scan of the pairs (A, v) under
    (A_2, v_2) o (A_1, v_1) = (A_2 A_1, A_2 v_1 + v_2), in blocks; its depth is O(log T).

    References:
        G. E. Blelloch, Prefix sums and their applications, Carnegie Mellon University,
        CMU-CS-90-190 (1990), sec. 1.4.
        E. Martin, C. Cundy, Parallelizing linear recurrent neural nets over sequence length, ICLR
        2018, arXiv 1709.04057.
    """
    batch, length, size = driven.shape
    if length <= _CHUNK:
        return recurrent(structure, driven, initial)
    # Powers and carries are kept in float64 whatever the dtype: the rounding error of A^C is
    # amplified T / C times, and there are few of them.
    leap = structure.to(torch.float64).power(_CHUNK)
    if not leap.isfinite():
        # A^C overflows although the states may not (a zero start, zero inputs): inf * 0 is wrong.
        return recurrent(structure, driven, initial)
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
        later = scan(leap, ends.double(), first.double()).to(driven.dtype)
        return torch.cat([first[:, None], later], dim=1)

    # First pass: the ends r_m from zero starts, all chunks in parallel; then s_m by recursion.
    starts = carried(reached(driven.new_zeros(batch, chunks, size)), initial)
    if not structure.elementwise:
        # For a non-normal A the rounding of A^C alone can spoil the carry. One step of iterative
        # refinement: from the starts found, the chunks really end at e_m; the defect e_m - s_m
        # obeys the same recurrence, so that a second scan of it corrects the starts.
        starts = starts + carried(reached(starts) - starts[:, 1:], torch.zeros_like(initial))
    # Last pass: all states from the starts, again with all chunks in parallel.
    states = recurrent(structure, blocks, starts.view(-1, size)).view(batch, chunks, _CHUNK, size)
    if not (structure.elementwise or _joined(states.detach(), starts.detach())):
        return recurrent(structure, driven, initial)
    return states.view(batch, chunks * _CHUNK, size)[:, :length]


def _joined(states: Tensor, starts: Tensor) -> bool:
    """Return whether all chunks (M, chunks, C, D) end where the next one starts, up to rounding."""
    jump = (states[:, :-1, -1] - starts[:, 1:]).abs().amax(-1)
    largest = states[:, :-1].abs().amax((2, 3))
    # A margin for the rounding errors of C steps; a wrong carry exceeds it by far.
    rounding = 1000 * torch.finfo(states.dtype).eps * largest
    return bool(((jump <= rounding) & largest.isfinite()).all())
