"""Normal equations of least squares as running sums, one set for each state of the system."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Eigenvalues of the scaled normal equations below this, relative to the largest, are round-off.
_WEAKEST = 1e-13
# Determinant of the scaled equations above which no direction is weak: with a unit diagonal it is
# at most 1, and the smallest eigenvalue is at least the determinant over Q^(Q-1).
_SOUND = 1e-10
# A coordinate with more than this squared share in weak directions is not determined.
_UNDETERMINED = 1e-6
# Residual variances below this, relative to the mean square of the data, are round-off.
_ROUND_OFF = 1e-14
# Replaces a variance of zero: its inverse times a square is still finite.
_LEAST_VARIANCE = 1e-200


@dataclass(frozen=True)
class Sums:
    """The hidden state of the regression head for a batch (...): sums over the samples so far.

    Attributes:
        gram: (..., S, Q, Q).
        moment: (..., S, Q).
        square: (..., S).
        count: (..., 1), total weight of the samples in the sums.
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
    """Return the terms of one sample in the sums, (..., D), for Phi (..., S, Q) and b (..., S)."""
    parts = [
        _outer(phi).flatten(-3),
        (phi * target.unsqueeze(-1)).flatten(-2),
        target.square(),
        torch.ones_like(target[..., :1]),
    ]
    return torch.cat(parts, dim=-1)


def solve(sums: Sums) -> Tensor:
    """Return q (..., Q), NaN where the samples so far do not determine it."""
    # Batch axes last: a few operations on long rows instead of many tiny matrices.
    gram = sums.gram.movedim((-3, -2, -1), (0, 1, 2)).contiguous()
    moment = sums.moment.movedim((-2, -1), (0, 1)).contiguous()
    square, count = (part.movedim(-1, 0).contiguous() for part in (sums.square, sums.count))
    count = count.clamp_min(1.0)
    scale = square / count
    # Two-stage weighted least squares. Each state has its own noise, so its equations are weighted
    # by 1 / variance: first by the mean square of b, then by that of the residuals of the first
    # solution, c - 2 m^T q + q^T G q.
    first, _ = _weighted_solution(gram, moment, 1.0 / scale.clamp_min(_LEAST_VARIANCE))
    residual = square + (((gram * first).sum(dim=2) - 2.0 * moment) * first).sum(dim=1)
    variance = torch.maximum(residual, _ROUND_OFF * square) / count
    weights = 1.0 / variance.clamp_min(_LEAST_VARIANCE)
    solution, determined = _weighted_solution(gram, moment, weights)
    return torch.where(determined, solution, torch.nan).movedim(0, -1).contiguous()


def _weighted_solution(gram: Tensor, moment: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the minimum-norm solution (Q, ...), and which of its entries are determined."""
    total = (gram * weights[:, None, None]).sum(dim=0)
    diagonal = total.diagonal(dim1=0, dim2=1).movedim(-1, 0)
    scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()
    # D^(-1/2) G D^(-1/2) y = D^(-1/2) m with q = D^(-1/2) y: independent of the units of q.
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
    """Return a solution (Q, ...) by Gaussian elimination, and where it is accurate, (...).

    No pivoting is needed: the equations are symmetric and positive semidefinite (Golub, Van Loan,
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
    # The product of the pivots is the determinant.
    sound = (pivots.prod(dim=-1) > _SOUND) & (pivots > 0.0).all(dim=-1)
    solution = table[:, size].clone()
    for k in reversed(range(size)):
        solution[k] /= table[k, k]
        solution[:k].addcmul_(table[:k, k], solution[k], value=-1.0)
    return solution, sound


def _shortest_solution(scaled: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return the minimum-norm solution (Q, M) of (Q, Q, M), and which entries are determined."""
    matrices = scaled.movedim(-1, 0)
    finite = matrices.isfinite().all(dim=-1).all(dim=-1)
    values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], matrices, 0.0))
    strong = values > _WEAKEST * values[:, -1:]
    inverse = torch.where(strong, 1.0 / torch.where(strong, values, 1.0), 0.0)
    projected = (vectors.mT @ right.T.unsqueeze(-1)).squeeze(-1)
    solution = (vectors @ (inverse * projected).unsqueeze(-1)).squeeze(-1)
    # The share of coordinate i in the weak directions is sum_k v_ik^2: adding any multiple of such
    # a direction to q leaves the equations satisfied.
    lost = (vectors.square() * (~strong).unsqueeze(-2)).sum(dim=-1) > _UNDETERMINED
    return solution.T, (~lost & finite.unsqueeze(-1)).T


def _outer(values: Tensor) -> Tensor:
    """Return the outer product of (..., Q) with itself, (..., Q, Q)."""
    return values.unsqueeze(-1) * values.unsqueeze(-2)
