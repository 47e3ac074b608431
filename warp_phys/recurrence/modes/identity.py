"""The recurrence with A = I in closed form: a cumulative sum."""

from __future__ import annotations

import torch
from torch import Tensor


def identity_recurrence(B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return the states theta_t = theta_0 + B c_t with c_t = u_1 + ... + u_t, (N, T, D).

    Each sequence is one product [c_t, 1] [B, theta_0]^T, which writes every state once. Adding
    theta_0 to the product c B^T would write all of them twice.

    Args:
        B: (D, d).
        inputs: (N, T, d).
        initial: (N, D).
    """
    batch, length, width = inputs.shape
    sums = torch.cat([inputs.cumsum(1), inputs.new_ones(batch, length, 1)], dim=2)
    rows = torch.cat([B.mT.expand(batch, width, -1), initial.unsqueeze(1)], dim=1)
    return torch.bmm(sums, rows)
