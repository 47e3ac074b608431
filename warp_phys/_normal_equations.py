"""Normal equations of least squares, one set a state, as sums that a recurrence can carry."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Directions of the scaled normal equations weaker than this are round-off, not information.
_WEAKEST = 1e-13
# A coordinate with more than this share in such a direction is not determined.
_UNDETERMINED = 1e-6
# Residual variance relative to the data's below which round-off decides.
_ROUND_OFF = 1e-14
# A variance in place of zero whose inverse times a square is still finite.
_LEAST_VARIANCE = 1e-200


@dataclass(frozen=True)
class Sums:
    """Hidden state of the head for a batch (...): what the samples so far add up to.

    Attributes:
        gram: (..., S, Q, Q).
        moment: (..., S, Q).
        square: (..., S).
        count: (..., 1) weight of the samples behind them.
    """

    gram: Tensor
    moment: Tensor
    square: Tensor
    count: Tensor

    @classmethod
    def from_flat(cls, flat: Tensor, states: int, coordinates: int) -> Sums:
        """Split the state vector (..., D) of the second recurrence."""
        sizes = [states * coordinates**2, states * coordinates, states, 1]
        gram, moment, square, count = flat.split(sizes, dim=-1)
        return cls(
            gram.unflatten(-1, (states, coordinates, coordinates)),
            moment.unflatten(-1, (states, coordinates)),
            square,
            count,
        )


def drive_of_sums(phi: Tensor, target: Tensor) -> Tensor:
    """Return what one sample adds to the sums, (..., D), of Phi (..., S, Q) and b (..., S)."""
    parts = [
        _outer(phi).flatten(-3),
        (phi * target.unsqueeze(-1)).flatten(-2),
        target.square(),
        torch.ones_like(target[..., :1]),
    ]
    return torch.cat(parts, dim=-1)


def solve(sums: Sums) -> Tensor:
    """Return q (..., Q), NaN where the samples so far do not determine it."""
    scale = sums.square / sums.count.clamp_min(1.0)
    first, _ = _weighted_solution(sums, 1.0 / scale.clamp_min(_LEAST_VARIANCE))
    residual = (
        sums.square
        - 2.0 * (sums.moment * first.unsqueeze(-2)).sum(dim=-1)
        + (first[..., None, None, :] @ sums.gram @ first[..., None, :, None])[..., 0, 0]
    )
    floor = _ROUND_OFF * sums.square
    variance = torch.maximum(residual, floor) / sums.count.clamp_min(1.0)
    solution, determined = _weighted_solution(sums, 1.0 / variance.clamp_min(_LEAST_VARIANCE))
    return torch.where(determined, solution, torch.nan)


def _weighted_solution(sums: Sums, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shortest solution (..., Q), and which of its entries are determined."""
    gram = (sums.gram * weights[..., None, None]).sum(dim=-3)
    moment = (sums.moment * weights[..., None]).sum(dim=-2)
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()
    scaled = gram * _outer(scale)
    finite = scaled.isfinite().all(dim=-1).all(dim=-1)
    values, vectors = torch.linalg.eigh(torch.where(finite[..., None, None], scaled, 0.0))
    strong = values > _WEAKEST * values[..., -1:]
    inverse = torch.where(strong, 1.0 / torch.where(strong, values, 1.0), 0.0)
    projected = (vectors.mT @ (moment * scale).unsqueeze(-1)).squeeze(-1)
    solution = (vectors @ (inverse * projected).unsqueeze(-1)).squeeze(-1) * scale
    lost = (vectors.square() * (~strong).unsqueeze(-2)).sum(dim=-1) > _UNDETERMINED
    return solution, ~lost & finite.unsqueeze(-1)


def _outer(values: Tensor) -> Tensor:
    """Return the outer product of (..., Q) with itself, (..., Q, Q)."""
    return values.unsqueeze(-1) * values.unsqueeze(-2)
