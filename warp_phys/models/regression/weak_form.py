r"""The weak form of a right-hand side that is affine in its coordinates.

With rhs = f0(t, y) + F(t, y) q, integration from the first sample to any later one gives
x_t - x_0 - \int f0 = (\int F) q, which is linear in q and needs no derivatives of noisy data.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Nodes of the quadrature: the integral of a cubic through four neighboring samples, whose error
# falls with the fourth power of the time step. With more nodes, noise would dominate the error.
POINTS = 4


def integral_weights(nodes: Tensor, start: Tensor) -> Tensor:
    """Return w (..., m) with sum(w f(nodes)) = the integral of the interpolating polynomial.

    Args:
        nodes: (..., m) ascending times.
        start: (...), lower end of the integral; the upper end is the last node.

    Example:
        >>> import torch
        >>> nodes = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
        >>> (3 * integral_weights(nodes, nodes[0])).round(decimals=9)
        tensor([1., 4., 1.], dtype=torch.float64)
    """
    count = nodes.shape[-1]
    span = (nodes[..., -1] - nodes[..., 0]).unsqueeze(-1)
    scaled = (nodes - nodes[..., -1:]) / span
    low = (start.unsqueeze(-1) - nodes[..., -1:]) / span
    # Nodes scaled to [-1, 0] keep the Vandermonde system well conditioned. The moments are
    # int_low^0 x^k dx = -low^(k+1) / (k + 1).
    moments = -low.expand(scaled.shape).cumprod(-1) / torch.arange(1, count + 1)
    return span * _vandermonde_solution(scaled, moments)


def _vandermonde_solution(nodes: Tensor, moments: Tensor) -> Tensor:
    """Return w (..., m) with sum(w nodes^k) = moments[k], k = 0, ..., m - 1.

    By the algorithm of A. Bjorck, V. Pereyra, Math. Comp. 24, 893 (1970), sec. 3, in O(m^2).
    """
    last = nodes.shape[-1] - 1
    x, w = (values.movedim(-1, 0).contiguous() for values in (nodes, moments))
    for k in range(last):
        w[k + 1 :] -= x[k] * w[k:-1]
    for k in reversed(range(last)):
        w[k + 1 :] /= x[k + 1 :] - x[: last - k]
        w[k:last] = w[k:last] - w[k + 1 :]
    return w.movedim(0, -1)


def first_increments(times: Tensor, values: Tensor) -> Tensor:
    """Return increments of the running integral at the first few samples, (N, m, K).

    The integral up to sample k < 4 is that of the polynomial through all samples so far. Each
    increment also corrects the coarser rule used before.

    Args:
        times: (N, m) with m <= 4.
        values: (N, m, K).
    """
    totals = [values.new_zeros(values.shape[0], values.shape[2])]
    for last in range(1, times.shape[1]):
        nodes = times[:, : last + 1]
        weights = integral_weights(nodes, nodes[:, 0])
        totals.append((weights.unsqueeze(1) @ values[:, : last + 1]).squeeze(1))
    return torch.stack(totals, dim=1).diff(dim=1, prepend=totals[0].unsqueeze(1))


def later_increments(times: Tensor, values: Tensor) -> Tensor:
    """Return increments at each sample that has three samples before it, (N, T - 3, K).

    Args:
        times: (N, T).
        values: (N, T, K).
    """
    nodes = times.unfold(1, POINTS, 1)
    # The integral over the last interval alone, of the cubic through its last four samples: causal,
    # so that a stream gives the same increments.
    weights = integral_weights(nodes, nodes[..., -2])
    count = nodes.shape[1]
    added = weights[..., :1] * values[:, :count]
    for place in range(1, POINTS):
        added.addcmul_(weights[..., place : place + 1], values[:, place : place + count])
    return added


def increments(times: Tensor, values: Tensor) -> Tensor:
    """Return increments of the running integral of sampled values, (N, T, K).

    They are the inputs of the first recurrence. Each depends on the last four samples only.

    Args:
        times: (N, T) ascending.
        values: (N, T, K).
    """
    first = first_increments(times[:, :POINTS], values[:, :POINTS])
    if times.shape[1] < POINTS + 1:
        return first
    return torch.cat([first, later_increments(times[:, 1:], values[:, 1:])], dim=1)


def compress(valid: Tensor, *arrays: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Move the valid samples of each trajectory to the front, in order.

    Args:
        valid: (N, T) bool.
        arrays: (N, T, ...).

    Returns:
        The number of valid samples up to and including each, (N, T) int64; and the arrays, with
        undefined values after the valid ones.
    """
    order = (~valid).long().argsort(dim=1, stable=True)
    moved = []
    for array in arrays:
        index = order.view(*order.shape, *[1] * (array.ndim - 2)).expand_as(array)
        moved.append(array.gather(1, index))
    return valid.long().cumsum(dim=1), moved


def increasing(times: Tensor, count: Tensor) -> Tensor:
    """Return times (N, T) whose entries after the first `count` (N,) continue in steps of 1."""
    # Padding must increase, too: equal nodes would make the Vandermonde system singular.
    place = torch.arange(times.shape[1])
    behind = place >= count.unsqueeze(1)
    last = times.gather(1, (count - 1).clamp_min(0).unsqueeze(1))
    return torch.where(behind, last + (place - count.unsqueeze(1) + 1), times)


def pad_window(window: Tensor, row: Tensor) -> Tensor:
    """Append a row (N, ...) to the last samples (N, m, ...), keeping at most four."""
    return torch.cat([window, row.unsqueeze(1)], dim=1)[:, -POINTS:]
