"""The recurrence in extended precision, and the scale its rounding is measured against."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

# The width of the type is that of the machine: 64 bits of mantissa on x86, more or less elsewhere.
Extended = np.longdouble


def extended(value: Tensor) -> np.ndarray[Any, Any]:
    return value.detach().numpy().astype(Extended)


def reference(A: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> np.ndarray[Any, Any]:
    """theta_1, ..., theta_T, (N, T, D), step by step from a dense A."""
    matrix = extended(A)
    driven = extended(inputs) @ extended(B).T
    state = np.broadcast_to(extended(initial), (driven.shape[0], driven.shape[2]))
    states = np.zeros(driven.shape, Extended)
    for t in range(driven.shape[1]):
        state = state @ matrix.T + driven[:, t]
        states[:, t] = state
    return states


def scale(A: Tensor, B: Tensor, inputs: Tensor, initial: Tensor, t: int) -> np.ndarray[Any, Any]:
    """|A^t| |theta_0| + sum_k |A^(t-k)| |B| |u_k|, (N, D): |B| |u|, for B u is rounded as well."""
    matrix = extended(A)
    driven = np.abs(extended(inputs)) @ np.abs(extended(B)).T
    power = np.eye(len(matrix), dtype=Extended)
    total = np.zeros((driven.shape[0], driven.shape[2]), Extended)
    for k in range(t, 0, -1):
        total += driven[:, k - 1] @ np.abs(power).T
        power = matrix @ power
    return total + np.abs(extended(initial)) @ np.abs(power).T


def rounding(
    states: Tensor, A: Tensor, B: Tensor, inputs: Tensor, initial: Tensor, times: list[int]
) -> float:
    """The largest error at some times, in units of float64 rounding of the scale."""
    exact = reference(A, B, inputs, initial)
    worst = 0.0
    for t in times:
        error = np.abs(extended(states)[:, t - 1] - exact[:, t - 1])
        worst = max(worst, float(np.max(error / scale(A, B, inputs, initial, t))))
    return worst / torch.finfo(torch.float64).eps
