"""The recurrence step by step, the reference that all other modes are tested against."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.recurrence.transitions.transition import Transition


def recurrent(
    structure: Transition, driven: Tensor, initial: Tensor, clip: float | None = None
) -> Tensor:
    """Return the states (M, T, D) from v_t = B u_t (M, T, D) and theta_0 (M, D), step by step.

    Args:
        structure: A.
        driven: v_1, ..., v_T, T at least 1.
        initial: theta_0.
        clip: Keeps every entry of a state within +-clip, before the next step.
    """
    state = initial
    states = []
    # unbind, not indexing: the backward pass of driven[:, t] fills a whole (M, T, D) for every t.
    for driven_t in driven.unbind(1):
        state = structure.step(state, driven_t)
        if clip is not None:
            state = state.clamp(-clip, clip)
        states.append(state)
    return torch.stack(states, dim=1)
