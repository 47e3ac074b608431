"""A warning where finite inputs make states overflow."""

from __future__ import annotations

import math
import warnings

from torch import Tensor

from warp_phys.recurrence.transforms import transformed
from warp_phys.recurrence.transitions.transition import Transition


def warn_of_overflow(
    states: Tensor, structure: Transition, B: Tensor, inputs: Tensor, initial: Tensor
) -> None:
    """Warn, naming sequence and step, where finite numbers made a state overflow.

    A state that has overflowed stays infinite or NaN, so that checking the last states is enough.
    On a GPU the check would force a synchronization, and is omitted.

    Args:
        states: theta_1, ..., theta_T (N, T, D).
        structure: A.
        B: (D, d).
        inputs: (N, T, d).
        initial: (N, D).
    """
    if not states.is_cpu or not states.numel() or transformed():
        return
    last = states.detach()[:, -1]
    # One reduction in the usual case: a sum of finite numbers that overflows only costs the full
    # check below.
    if math.isfinite(last.sum().item()):
        return
    if not (structure.isfinite() and B.isfinite().all()):
        return
    spoiled = ~(inputs.isfinite().all(2).all(1) & initial.isfinite().all(1))
    overflowed = ~last.isfinite().all(1) & ~spoiled
    if not overflowed.any():
        return
    sequence = int(overflowed.nonzero()[0])
    step = int((~states[sequence].isfinite().all(1)).nonzero()[0])
    state = int((~states[sequence, step].isfinite()).nonzero()[0])
    warnings.warn(
        f"sequence {sequence}: state {state} overflowed {states.dtype} at step {step + 1} of "
        f"{states.shape[1]} ({int(overflowed.sum())} of {len(last)} sequences overflowed): A lets "
        "states grow without bound; keep its entries within 1 (stable=True), or use float64",
        RuntimeWarning,
        stacklevel=3,
    )
