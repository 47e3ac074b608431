r"""The normal distribution over the standardized coordinates that a head emits.

With residual r = q - mean, unit lower triangular C and scales d > 0, z = diag(1/d) C r is standard
normal, so the precision is C^T diag(1/d^2) C, its modified Cholesky factorization. Entry i of z is
the innovation of coordinate i given the coordinates before it: a combination that the data
determine tightly (k/m of a mass on a spring) stays tight although its parts do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Bounds of log d. exp(-12) of a standardized coordinate is below any measurement error, and its
# inverse square still has digits in float32; without an upper bound, scales could diverge.
_LOWEST_LOG_SCALE = -12.0
_HIGHEST_LOG_SCALE = 3.0


@dataclass(frozen=True)
class Gaussian:
    """A batch of normal distributions over Q coordinates.

    Attributes:
        mean: (..., Q).
        log_scale: (..., Q), log d.
        coupling: (..., Q (Q - 1) / 2), the entries of C below its diagonal, row by row.
    """

    mean: Tensor
    log_scale: Tensor
    coupling: Tensor

    @classmethod
    def from_state(cls, values: Tensor, size: int) -> Gaussian:
        """Split (..., state_size(Q)) numbers of the hidden state into mean, scales, couplings."""
        mean, log_scale, coupling = values.split([size, size, size * (size - 1) // 2], dim=-1)
        return cls(mean, log_scale.clamp(_LOWEST_LOG_SCALE, _HIGHEST_LOG_SCALE), coupling)

    def log_density(self, coordinates: Tensor) -> Tensor:
        """Return the log density (...) at coordinates (..., Q)."""
        residual = coordinates - self.mean
        score = (residual + self._coupled(residual)) * (-self.log_scale).exp()
        size = self.mean.shape[-1]
        # log p = -|z|^2 / 2 - sum log d - Q/2 log(2 pi): C is unit triangular, so its determinant
        # is 1 and only d contributes to the normalization.
        norm = self.log_scale.sum(dim=-1) + 0.5 * size * math.log(2.0 * math.pi)
        return -0.5 * score.square().sum(dim=-1) - norm

    @torch.no_grad()
    def standard_deviation(self) -> Tensor:
        """Return the marginal standard deviations (..., Q), for bands: without gradients."""
        # Covariance R R^T with C R = diag(d), by forward substitution over rows, vectorized over
        # trajectories: R_i = d_i e_i - sum_{j<i} C_ij R_j. Solving many tiny matrices takes longer.
        below = (-self.coupling).movedim(-1, 0).contiguous()
        scales = self.log_scale.exp().movedim(-1, 0)
        size = len(scales)
        root = scales.new_zeros((size, *scales.shape))
        for row, scale in enumerate(scales):
            root[row, row] = scale
            if row:
                before, below = below[:row].unsqueeze(1), below[row:]
                root[row, :row] = (before * root[:row, :row]).sum(dim=0)
        return root.square().sum(dim=1).sqrt().movedim(0, -1).contiguous()

    def covariance(self) -> Tensor:
        """Return the covariance (..., Q, Q)."""
        root = self._root()
        return root @ root.mT

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw (count, ..., Q) coordinates."""
        normal = torch.randn((count, *self.mean.shape), dtype=self.mean.dtype, generator=generator)
        # With standard normal n, mean + R n has the covariance R R^T.
        return self.mean + (self._root() @ normal.unsqueeze(-1)).squeeze(-1)

    def _coupled(self, residual: Tensor) -> Tensor:
        """Return (C - I) residual, (..., Q).

        Two products with constant matrices of zeros and ones gather the residual for the entries of
        C and sum over its rows. A batch of tiny products would take several times as long.
        """
        size = residual.shape[-1]
        rows, columns = torch.tril_indices(size, size, offset=-1)
        unit = torch.eye(size, dtype=residual.dtype)
        return (self.coupling * (residual @ unit[columns].mT)) @ unit[rows]

    def _factor(self) -> Tensor:
        size = self.mean.shape[-1]
        rows, columns = torch.tril_indices(size, size, offset=-1)
        factor = self.mean.new_zeros((*self.mean.shape, size))
        factor[..., rows, columns] = self.coupling
        return factor + torch.eye(size, dtype=factor.dtype)

    def _root(self) -> Tensor:
        """Return R (..., Q, Q) with covariance R R^T, which is C^-1 diag(d)."""
        scales = torch.diag_embed(self.log_scale.exp())
        return torch.linalg.solve_triangular(
            self._factor(), scales, upper=False, unitriangular=True
        )


def state_size(size: int) -> int:
    """Return the number of values that describe a normal distribution over `size` coordinates."""
    return 2 * size + size * (size - 1) // 2
