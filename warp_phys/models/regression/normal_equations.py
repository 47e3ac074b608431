"""Normal equations of least squares as running sums, one set for each state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Directions of the scaled normal equations weaker than this are round-off, not information.
_WEAKEST = 1e-13
# Determinant of the scaled equations, whose diagonal is 1, above which no direction is weak.
_SOUND = 1e-10
# A coordinate with more than this share in such a direction is not determined.
_UNDETERMINED = 1e-6
# Residual variance relative to the data's below which round-off decides.
_ROUND_OFF = 1e-14
# A variance in place of zero whose inverse times a square is still finite.
_LEAST_VARIANCE = 1e-200


@dataclass(frozen=True)
class Sums:
    """Hidden state of the regression head for a batch (...): sums over the samples so far.

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
    # Batch axes last: a few operations on long rows, not many tiny matrices.
    gram = sums.gram.movedim((-3, -2, -1), (0, 1, 2)).contiguous()
    moment = sums.moment.movedim((-2, -1), (0, 1)).contiguous()
    square, count = (part.movedim(-1, 0).contiguous() for part in (sums.square, sums.count))
    count = count.clamp_min(1.0)
    scale = square / count
    first, _ = _weighted_solution(gram, moment, 1.0 / scale.clamp_min(_LEAST_VARIANCE))
    residual = square + (((gram * first).sum(dim=2) - 2.0 * moment) * first).sum(dim=1)
    variance = torch.maximum(residual, _ROUND_OFF * square) / count
    weights = 1.0 / variance.clamp_min(_LEAST_VARIANCE)
    solution, determined = _weighted_solution(gram, moment, weights)
    return torch.where(determined, solution, torch.nan).movedim(0, -1).contiguous()


def _weighted_solution(gram: Tensor, moment: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shortest solution (Q, ...), and which of its entries are determined."""
    total = (gram * weights[:, None, None]).sum(dim=0)
    diagonal = total.diagonal(dim1=0, dim2=1).movedim(-1, 0)
    scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()
    scaled = total * scale * scale.unsqueeze(1)
    right = (moment * weights.unsqueeze(1)).sum(dim=0) * scale
    solution, sound = _eliminated(scaled, right)
    determined = sound.expand_as(solution)
    if not sound.all():
        weak = ~sound
        shortest, known = _shortest_solution(scaled[:, :, weak], right[:, weak])
        determined = determined.clone()
        solution[:, weak], determined[:, weak] = shortest, known
    return solution * scale, determined


def _eliminated(scaled: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return a solution (Q, ...) by Gauss's elimination, and where it is sound, (...).

    No pivots are needed: the equations are symmetric and positive semidefinite (Golub, Van Loan,
    Matrix Computations, sec. 4.2). For 20,000 equations of 3 to 6 unknowns a few operations on long
    rows take a twelfth of the time of LAPACK's Cholesky, matrix by matrix, as in
    `likelihood.damped_step`.
    """
    size = len(right)
    table = torch.cat([scaled, right.unsqueeze(1)], dim=1)
    for k in range(size - 1):
        factors = table[k + 1 :, k] / table[k, k]
        table[k + 1 :, k + 1 :].addcmul_(factors.unsqueeze(1), table[k, k + 1 :], value=-1.0)
    pivots = table.diagonal(dim1=0, dim2=1)
    sound = (pivots.prod(dim=-1) > _SOUND) & (pivots > 0.0).all(dim=-1)
    solution = table[:, size].clone()
    for k in reversed(range(size)):
        solution[k] /= table[k, k]
        solution[:k].addcmul_(table[:k, k], solution[k], value=-1.0)
    return solution, sound


def _shortest_solution(scaled: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shortest solution (Q, M) of equations (Q, Q, M), and what they determine."""
    matrices = scaled.movedim(-1, 0)
    finite = matrices.isfinite().all(dim=-1).all(dim=-1)
    values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], matrices, 0.0))
    strong = values > _WEAKEST * values[:, -1:]
    inverse = torch.where(strong, 1.0 / torch.where(strong, values, 1.0), 0.0)
    projected = (vectors.mT @ right.T.unsqueeze(-1)).squeeze(-1)
    solution = (vectors @ (inverse * projected).unsqueeze(-1)).squeeze(-1)
    lost = (vectors.square() * (~strong).unsqueeze(-2)).sum(dim=-1) > _UNDETERMINED
    return solution.T, (~lost & finite.unsqueeze(-1)).T


def _outer(values: Tensor) -> Tensor:
    """Return the outer product of (..., Q) with itself, (..., Q, Q)."""
    return values.unsqueeze(-1) * values.unsqueeze(-2)
