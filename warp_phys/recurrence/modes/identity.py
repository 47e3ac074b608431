"""The recurrence with A = I in closed form: no state follows from the one before."""

from __future__ import annotations

import torch
from torch import Tensor


def identity_recurrence(B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """The states theta_0 + B (u_1 + ... + u_t), (N, T, D).

    For each sequence one product of [c_t, 1] and [B, theta_0]^T, which writes every state once; the
    sum beside the product of c and B^T, the obvious way, writes all of them twice.

    Args:
        B: (D, d).
        inputs: (N, T, d).
        initial: (N, D).
    """
    batch, length, width = inputs.shape
    sums = torch.cat([inputs.cumsum(1), inputs.new_ones(batch, length, 1)], dim=2)
    rows = torch.cat([B.mT.expand(batch, width, -1), initial.unsqueeze(1)], dim=1)
    return torch.bmm(sums, rows)
