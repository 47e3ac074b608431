r"""Priors of the unknowns of a fit, in their coordinates.

A fit with priors maximizes the posterior density p(y | theta) pi(theta) by the physical values
theta. The minimizer, which moves in coordinates z, sees -log pi(theta(z)) as a penalty with its
gradient and curvature by z; the density is not transformed, so that the optimum does not depend on
the coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.unknowns import Unknowns

# Steps of the central differences of a logarithm of a density, in coordinates: for its slope, whose
# error is about 1e-11, and for its curvature, about 1e-7.
_SLOPE, _CURVATURE = 1e-5, 1e-3

LogDensity = Callable[[Tensor], Tensor]
Joint = Callable[[Mapping[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Prior:
    """The prior of D unknowns of N trajectories.

    Attributes:
        single: The log density of each unknown by its physical value; None where it has none.
        joint: The log density (n,) of all unknowns by name, (n,) each; or None.
        share: (N, D), by how much a trajectory counts: one over the number of trajectories of its
            group that share the unknown; 0 where it is known.
    """

    single: Sequence[LogDensity | None]
    joint: Joint | None
    share: Tensor

    def select(self, rows: Tensor) -> Prior:
        """Return the prior of some trajectories."""
        return replace(self, share=self.share[rows])

    def log_density(self, unknowns: Unknowns, z: Tensor, rows: Tensor) -> Tensor:
        """Return log pi (n,) of lanes of trajectories rows (n,) at coordinates z (n, D)."""
        values, share = unknowns.values(z), self.share[rows]
        total = z.new_zeros(len(z))
        for place, density in enumerate(self.single):
            if density is not None:
                part = share[:, place] * density(values[:, place])
                total = total + torch.where(share[:, place] > 0.0, part, 0.0)
        if self.joint is not None:
            total = total + _joint(self.joint, unknowns, z)
        return total

    def slopes(self, unknowns: Unknowns, z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return gradients (n, D) and Hessians (n, D, D) of -log pi by the coordinates."""
        share = self.share[rows]
        gradient, diagonal = torch.zeros_like(z), torch.zeros_like(z)
        for place, density in enumerate(self.single):
            if density is not None:
                slope, curvature = _differences(_along(unknowns, density, place), z[:, place])
                used = share[:, place] > 0.0
                gradient[:, place] = torch.where(used, -share[:, place] * slope, 0.0)
                diagonal[:, place] = torch.where(used, -share[:, place] * curvature, 0.0)
        hessian = torch.diag_embed(diagonal)
        if self.joint is not None:
            more, bent = _derivatives(self.joint, unknowns, z)
            gradient, hessian = gradient - more, hessian - bent
        return gradient, hessian


@dataclass(frozen=True)
class PriorPenalty:
    """What a prior adds to the objective of a minimization; see `Penalty`.

    Attributes:
        prior: The prior.
        unknowns: The unknowns.
        rows: (L,), the trajectory of each lane.
    """

    prior: Prior
    unknowns: Unknowns
    rows: Tensor

    def penalty(self, z: Tensor, lanes: Tensor) -> Tensor:
        """Return -log pi (n,)."""
        found = -self.prior.log_density(self.unknowns, z, self.rows[lanes])
        # Outside the support of a prior no step is accepted.
        return torch.where(found.isnan(), torch.inf, found)

    def add(self, z: Tensor, lanes: Tensor, matrix: Tensor, vector: Tensor) -> None:
        """Add its terms to packed matrices (n, K) and vectors (n, D) of normal equations."""
        gradient, hessian = self.prior.slopes(self.unknowns, z, self.rows[lanes])
        # Steps need curvature that is not negative: that of a log density which is not concave
        # counts with its size.
        values, vectors = torch.linalg.eigh(hessian.nan_to_num(0.0, 0.0, 0.0))
        positive = (vectors * values.abs().unsqueeze(1)) @ vectors.mT
        rows, columns = torch.tril_indices(z.shape[1], z.shape[1])
        matrix += positive[:, rows, columns]
        vector -= gradient


def _along(unknowns: Unknowns, density: LogDensity, place: int) -> LogDensity:
    """Return the log density of one unknown as a function of its coordinate."""

    def at(column: Tensor) -> Tensor:
        z = column.new_zeros(len(column), len(unknowns))
        z[:, place] = column
        return density(unknowns.values(z)[:, place])

    return at


def _differences(function: LogDensity, at: Tensor) -> tuple[Tensor, Tensor]:
    """Return first and second derivatives by central differences."""
    ahead, behind = function(at + _SLOPE), function(at - _SLOPE)
    slope = (ahead - behind) / (2.0 * _SLOPE)
    ahead, here, behind = (function(at + side * _CURVATURE) for side in (1.0, 0.0, -1.0))
    return slope, (ahead - 2.0 * here + behind) / _CURVATURE**2


def _joint(joint: Joint, unknowns: Unknowns, z: Tensor) -> Tensor:
    values = unknowns.values(z)
    return joint(dict(zip(unknowns.labels, values.unbind(dim=1), strict=True)))


def _derivatives(joint: Joint, unknowns: Unknowns, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient (n, D) and the Hessian (n, D, D) of a joint log density."""
    with torch.enable_grad():
        at = z.detach().clone().requires_grad_()
        total = _joint(joint, unknowns, at).sum()
        # Lanes do not depend on each other, so that the gradient of the sum has that of each.
        (gradient,) = torch.autograd.grad(total, at, create_graph=True)
        rows = []
        for place in range(z.shape[1]):
            column = gradient[:, place].sum()
            if column.requires_grad:
                (row,) = torch.autograd.grad(column, at, retain_graph=True, materialize_grads=True)
            else:
                row = torch.zeros_like(z)
            rows.append(row.detach())
    return gradient.detach(), torch.stack(rows, dim=1)
