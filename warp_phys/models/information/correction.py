r"""What a normal approximation at the optimum misses, carried on until the next mark.

At a mark the posterior of some records has another mean and covariance, m + b and C + E, than the
normal approximation N(m, C) at its optimum: it is bent, or has a second optimum. What is learned
after the mark makes both differences smaller. With the information P = C^-1 at the mark and C_t
later, a difference of the mean persists by the gain G = C_t P, so that

    mean_t = m_t + G b      covariance_t = C_t + G E G^T,

which is positive definite, as C_t - C_t P C_t = C_t (C_t^-1 - P) C_t is not negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.models.information.rows import Rows


@dataclass(frozen=True)
class Correction(Rows):
    """The differences of N records.

    Attributes:
        active: (N,), whether a record has one.
        precision: (N, D, D), P.
        shift: (N, D), b.
        excess: (N, D, D), E.
    """

    active: Tensor
    precision: Tensor
    shift: Tensor
    excess: Tensor

    @classmethod
    def none(cls, records: int, unknowns: int) -> Correction:
        """Return no corrections."""
        square = torch.zeros(records, unknowns, unknowns, dtype=torch.float64)
        active = torch.zeros(records, dtype=torch.bool)
        return cls(active, square, square[..., 0].clone(), square)

    def of(self, rows: Tensor, covariance: Tensor, shift: Tensor, excess: Tensor) -> Correction:
        """Return these corrections with those of some records (n,) replaced."""
        precision = torch.linalg.inv_ex(covariance)[0]
        return self.replaced(
            rows, Correction(torch.ones_like(rows).bool(), precision, shift, excess)
        )

    def applied(self, delta: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Return corrected estimates (N, D) and covariances (N, D, D)."""
        rows = self.active.nonzero()[:, 0]
        if not rows.numel():
            return delta, covariance
        mine = self.select(rows)
        gain = covariance[rows] @ mine.precision
        delta, covariance = delta.clone(), covariance.clone()
        delta[rows] += (gain @ mine.shift.unsqueeze(2)).squeeze(2)
        covariance[rows] += gain @ mine.excess @ gain.mT
        return delta, covariance
