r"""The secant update of Dennis, Gay and Welsch for the part of the Hessian Gauss-Newton omits.

The Hessian of a sum of squares is J^T J + sum r_i H_i. Where residuals are large the second part
matters, and Gauss-Newton converges slowly. S approximates it by the symmetric secant update

    S+ = t S + ((y - A s - t S s) y^T + y (y - A s - t S s)^T) / y^T s
         - ((y - A s - t S s)^T s) y y^T / (y^T s)^2

of the step s, the change y of the gradient, A = J^T J after the step, and the sizing
t = min(1, abs(s^T (y - A s)) / abs(s^T S s)).

References:
    J. E. Dennis, D. M. Gay, R. E. Welsch, ACM Trans. Math. Softw. 7 (1981) 348-368,
    doi:10.1145/355958.355965.
"""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.kernels.lanes import secant_updates


def updated_curvature(curvature: Tensor, matrix: Tensor, step: Tensor, change: Tensor) -> Tensor:
    """Return S (n, D, D) after a step.

    Args:
        curvature: S before the step, (n, D, D).
        matrix: A after the step, (n, D, D).
        step: s, (n, D).
        change: y, (n, D).
    """
    found = secant_updates(curvature, matrix, step, change)
    return updated_in_torch(curvature, matrix, step, change) if found is None else found


def updated_in_torch(curvature: Tensor, matrix: Tensor, step: Tensor, change: Tensor) -> Tensor:
    """Return the same as `updated_curvature`, without a compiler."""
    # What S s should be: (A + S) s = y is the secant condition. (NL2SOL takes the change of J^T at
    # the new residuals instead, which the running sums do not keep.)
    wanted = change - _times(matrix, step)
    known = _times(curvature, step)
    along = (known * step).sum(dim=1)
    # The sizing factor t shrinks an S that is too large along s, as it becomes where residuals
    # vanish; without it, old curvature would slow the last iterations down.
    ratio = (wanted * step).sum(dim=1).abs() / along.abs()
    size = torch.where(along != 0.0, ratio.clamp(max=1.0), 1.0).view(-1, 1, 1)
    missing = wanted - size[:, 0] * known
    slope = (change * step).sum(dim=1)
    # The update divides by y^T s. Where that is negative (negative curvature along s) or a rounding
    # error of the norms, S is kept as it was.
    steep = slope > 1e-12 * change.norm(dim=1) * step.norm(dim=1)
    inverse = torch.where(steep, 1.0 / slope, 0.0).view(-1, 1, 1)
    mixed = missing.unsqueeze(2) * change.unsqueeze(1) * inverse
    square = change.unsqueeze(2) * change.unsqueeze(1) * inverse.square()
    twice = (missing * step).sum(dim=1).view(-1, 1, 1) * square
    # A rank-two correction: found s = wanted, and found stays symmetric.
    found = size * curvature + mixed + mixed.mT - twice
    usable = steep & found.isfinite().all(dim=2).all(dim=1)
    return torch.where(usable.view(-1, 1, 1), found, curvature)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(2)).squeeze(2)
