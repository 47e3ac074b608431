"""The recurrence as a causal convolution with the kernel A^k B."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.recurrence.transitions.transition import Transition

# Lags summed per matrix product. It changes results by rounding only.
_LAGS = 32


def convolutional(structure: Transition, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return the states theta_t = A^t theta_0 + sum_{k=0}^{t-1} (A^k B) u_{t-k}, (N, T, D).

    The convolution is summed directly, in O(T^2). By FFT the rounding error of every state would be
    relative to the largest state, which is fatal where A grows.
    """
    batch, length, _ = inputs.shape
    kernel = structure.orbit(B.mT, length)  # (T, d, D): the columns of A^k B for k = 0..T-1
    start = structure.apply(initial.reshape(-1, structure.size))
    # The response to the initial state, A^t theta_0 for t = 1, ..., T, (T, N, D) before
    # transposing.
    free = structure.orbit(start, length).transpose(0, 1)
    if not (kernel.isfinite().all() and free.isfinite().all()):
        # A^k overflows although the states may not (a zero start, zero inputs): inf * 0 is wrong.
        return recurrent(structure, inputs @ B.mT, initial.expand(batch, -1))
    states = free.expand(batch, -1, -1)
    # Overlapping views of u: row t holds u_{t-L+1}, ..., u_t, and nothing later.
    windows = pad(inputs, (0, 0, _LAGS - 1, 0)).unfold(1, _LAGS, 1).mT.flatten(2)
    for lag in range(0, length, _LAGS):
        # A^k B for the lags k of this product, in reversed order as windows run forward in time;
        # the last group is filled up with zeros. Lag k contributes from step k on, hence the shift.
        taps = kernel[lag : lag + _LAGS].flip(0)
        taps = pad(taps, (0, 0, 0, 0, _LAGS - len(taps), 0)).flatten(0, 1)
        # bmm keeps the views for the backward pass, where matmul would keep L copies of u.
        part = torch.bmm(windows[:, : length - lag], taps.expand(batch, -1, -1))
        states = states + pad(part, (0, 0, lag, 0))
    return states
