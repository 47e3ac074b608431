r"""The normal distribution a head emits over the standardized coordinates.

With residual r = q - mean, unit lower triangular C and scales d > 0, z = diag(1/d) C r is standard
normal, so the precision is C^T diag(1/d^2) C. Entry i of z is what is left of coordinate i once
the coordinates before it are known: a combination the data fix tightly (k/m of a mass on a spring)
stays tight although its parts do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# exp(-12) of a standardized coordinate: beyond any measurement, within float32.
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
        norm = self.log_scale.sum(dim=-1) + 0.5 * size * math.log(2.0 * math.pi)
        return -0.5 * score.square().sum(dim=-1) - norm

    @torch.no_grad()
    def standard_deviation(self) -> Tensor:
        """Return the marginal standard deviations (..., Q), for bands: without gradients."""
        # C R = diag(d) row by row, trajectories last: solving many tiny matrices takes longer.
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
        return self.mean + (self._root() @ normal.unsqueeze(-1)).squeeze(-1)

    def _coupled(self, residual: Tensor) -> Tensor:
        """Return (C - I) residual, (..., Q).

        By two products with constant matrices of zeros and ones, which spread the residual over
        the entries of C and sum up its rows: a batch of tiny products takes several times as long.
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
    """Return how many numbers describe a normal distribution over `size` coordinates."""
    return 2 * size + size * (size - 1) // 2
