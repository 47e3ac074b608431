"""The square-root unscented transform, batched: means and triangular factors of covariances.

With alpha = 1, beta = 2 and kappa = 0 the weights are 0 for the mean and 2 for the covariance of
the central point, 1/(2n) for all others. None is negative, so a covariance is the product of a
matrix with itself and its factor comes from a QR decomposition: no rounding makes it indefinite.

References:
    S. J. Julier, J. K. Uhlmann, Proc. SPIE 3068 (1997) 182-193, doi:10.1117/12.280797.
    E. A. Wan, R. van der Merwe, Proc. IEEE AS-SPCC (2000) 153-158, doi:10.1109/ASSPCC.2000.882463.
    A. F. Garcia-Fernandez, L. Svensson, M. R. Morelande, S. Sarkka, IEEE Trans. Signal Processing
    63 (2015) 5561-5573, doi:10.1109/TSP.2015.2454485 (repeated updates).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_CENTER = 2.0
"""Weight of the central point in a covariance."""


@dataclass(frozen=True)
class Belief:
    """A normal distribution for each of N records.

    Attributes:
        mean: (N, n).
        factor: Lower triangular L of the covariance L L^T, (N, n, n).
    """

    mean: Tensor
    factor: Tensor

    def where(self, chosen: Tensor, other: Belief) -> Belief:
        """Return this belief in the chosen records (N,), the other one in the rest."""
        mean = torch.where(chosen[:, None], self.mean, other.mean)
        return Belief(mean, torch.where(chosen[:, None, None], self.factor, other.factor))


def predict(belief: Belief, flow: Callable[[Tensor], Tensor], walk: Tensor) -> Belief:
    """Return the belief after a step.

    Args:
        belief: Before the step.
        flow: Takes points (N, 2n+1, n) to where they are after the step.
        walk: Standard deviations (n,) of what a step adds at random.
    """
    points = flow(_points(belief))
    mean, deviations = _moments(points)
    added = torch.diag(walk).repeat(len(mean), 1, 1)
    return Belief(mean, _lower(torch.cat([deviations, added], dim=1)))


def update(
    belief: Belief,
    outputs: Callable[[Tensor], Tensor],
    observed: Tensor,
    noise: Tensor,
    passes: int,
) -> tuple[Belief, Tensor]:
    r"""Return the belief after a sample, and the log likelihood of the sample (N,).

    The outputs are replaced by the line that fits them best over the points of the belief, the
    first time, which is the ordinary unscented update; then over those of the belief just found.
    With slope A, residual \Omega, prior L L^T and noise R, the QR decomposition of

    .. math::
        \begin{pmatrix} A L & \Omega^{1/2} & R^{1/2} \\ L & 0 & 0 \end{pmatrix}^T

    gives the factor of the innovations, the gain times it, and the factor of the posterior.

    Args:
        belief: Before the sample.
        outputs: Takes points (N, 2n+1, n) to their outputs (N, 2n+1, O).
        observed: (N, O), NaN where nothing was seen.
        noise: Standard deviations (N, O) of the noise, positive.
        passes: How often the outputs are replaced; 1 where they are linear.
    """
    found = belief
    for _ in range(passes):
        found, likelihood = _linear_update(belief, _line(found, outputs), observed, noise)
    return found, likelihood


@dataclass(frozen=True)
class _Line:
    """Outputs as a linear function of the unknowns: slope (N, O, n), offset (N, O), residual L."""

    slope: Tensor
    offset: Tensor
    residual: Tensor


def _line(belief: Belief, outputs: Callable[[Tensor], Tensor]) -> _Line:
    points = _points(belief)
    (center, own), (expected, deviations) = _moments(points), _moments(outputs(points))
    size = center.shape[1]
    joint = _lower(torch.cat([own, deviations], dim=2))
    slope = torch.linalg.solve_triangular(
        joint[:, :size, :size], joint[:, size:, :size], upper=False, left=False
    )
    offset = expected - (slope @ center[:, :, None])[:, :, 0]
    return _Line(slope, offset, joint[:, size:, size:])


def _linear_update(
    belief: Belief, line: _Line, observed: Tensor, noise: Tensor
) -> tuple[Belief, Tensor]:
    seen = observed.isfinite()
    # An output that was not seen tells nothing: its innovation does not depend on the unknowns.
    slope = torch.where(seen[:, :, None], line.slope, 0.0)
    residual = torch.where(seen[:, :, None], line.residual, 0.0)
    expected = (slope @ belief.mean[:, :, None])[:, :, 0] + line.offset
    innovation = torch.where(seen, observed - expected, 0.0)
    size, count = noise.shape[1], belief.mean.shape[1]
    nothing = residual.new_zeros(len(noise), 2 * size, count)
    above = torch.cat([(slope @ belief.factor).mT, residual.mT, torch.diag_embed(noise)], dim=1)
    below = torch.cat([belief.factor.mT, nothing], dim=1)
    joint = _lower(torch.cat([above, below], dim=2))
    innovations, gains = joint[:, :size, :size], joint[:, size:, :size]
    whitened = torch.linalg.solve_triangular(innovations, innovation[:, :, None], upper=False)
    mean = belief.mean + (gains @ whitened)[:, :, 0]
    # Up to a constant.
    pivots = innovations.diagonal(dim1=1, dim2=2).abs().log()
    lost = torch.where(seen, pivots + 0.5 * whitened[:, :, 0].square(), 0.0)
    return Belief(mean, joint[:, size:, size:]), -lost.sum(dim=1)


def _points(belief: Belief) -> Tensor:
    """Return the 2n+1 points (N, 2n+1, n), the central one first."""
    spread = math.sqrt(belief.mean.shape[1]) * belief.factor.mT
    center = belief.mean[:, None, :]
    return torch.cat([center, center + spread, center - spread], dim=1)


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return means (N, K) and weighted deviations D (N, 2n+1, K); the covariance is D^T D."""
    mean = values[:, 1:].mean(dim=1)
    weights = values.new_full((values.shape[1], 1), 1.0 / (values.shape[1] - 1))
    weights[0] = _CENTER
    return mean, weights.sqrt() * (values - mean[:, None, :])


def _lower(rows: Tensor) -> Tensor:
    """Return the lower triangular L with L L^T = rows^T rows."""
    return torch.linalg.qr(rows, mode="r").R.mT.contiguous()
