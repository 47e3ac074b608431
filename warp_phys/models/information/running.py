r"""The information recurrence: one sample of N records at a time.

The unknowns z (D coordinates of parameters and initial states) are linearized at a point z*, where
the model predicts h_t and has the sensitivities J_t = dh_t/dz. What the samples so far say about
z = z* + delta are running sums for each output o, a linear recurrence with A = 1:

    H_t = H_{t-1} + w_t J_t^T J_t      g_t = g_{t-1} + w_t J_t^T r_t      q_t = q_{t-1} + w_t r_t^2

with the residuals r_t = x_t - h_t(z*) (of logarithms where the noise is log-normal) and the weights
w_t of a robust loss, 1 for normal noise. With the prior N(m, P) and the noise levels s_o, the
information matrix and vector, and the estimate, are

    Lambda_t = P^-1 + sum_o H_t / s_o^2      eta_t = P^-1 (m - z*) + sum_o g_t / s_o^2
    delta_t = Lambda_t^-1 eta_t              covariance of z: Lambda_t^-1

Since H, g and q do not contain s_o, the level may change at every sample. Its own sum of squares is
Q_o = q - 2 delta^T g + delta^T H delta + tr(H Lambda^-1), the expected sum of squared residuals over
the posterior of z, and log s_o maximizes its posterior given Q_o.

References:
    B. D. O. Anderson, J. B. Moore, Optimal Filtering, Prentice-Hall, 1979, ch. 6 (information filter).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.level_posterior import level_freedom, likely_log_level
from warp_phys.models.information.innovations import Innovations
from warp_phys.models.information.prior import Prior
from warp_phys.systems.noise.location_scale import LocationScale


@dataclass(frozen=True)
class Sample:
    """One sample of N records, linearized at z*.

    Attributes:
        residual: (N, O), on the scale of the noise; NaN where nothing was observed.
        jacobian: (N, O, D), minus the derivative of the residual by the coordinates.
        size: (N, O), the reference for the size of a residual; 0 where nothing was observed.
    """

    residual: Tensor
    jacobian: Tensor
    size: Tensor


@dataclass(frozen=True)
class Sums:
    """The running sums of N records: H (N, O, D, D), g (N, O, D), q and counts (N, O)."""

    hessian: Tensor
    gradient: Tensor
    squares: Tensor
    count: Tensor

    @classmethod
    def empty(cls, records: int, outputs: int, unknowns: int) -> Sums:
        """Return sums of no samples."""
        zeros = torch.zeros(records, outputs, unknowns, unknowns, dtype=torch.float64)
        return cls(zeros, zeros[..., 0].clone(), zeros[..., 0, 0].clone(), zeros[..., 0, 0].clone())

    def added(self, sample: Sample, weight: Tensor) -> Sums:
        """Return the sums with one more sample, its values weighted by (N, O)."""
        seen = sample.residual.isfinite()
        residual = torch.where(seen, sample.residual, 0.0)
        weight = torch.where(seen, weight, 0.0)
        pulled = weight.unsqueeze(-1) * sample.jacobian
        return Sums(
            self.hessian + pulled.unsqueeze(-1) * sample.jacobian.unsqueeze(-2),
            self.gradient + pulled * residual.unsqueeze(-1),
            self.squares + weight * residual.square(),
            self.count + seen,
        )


@dataclass(frozen=True)
class Belief:
    """What is known about the unknowns of N records after a sample.

    Attributes:
        delta: (N, D), the estimate less z*.
        covariance: (N, D, D).
        log_level: (N, O), log s.
        freedom: (N, O), degrees of freedom of the levels.
    """

    delta: Tensor
    covariance: Tensor
    log_level: Tensor
    freedom: Tensor
