"""The damped Gauss-Newton step, with unknowns of their own and unknowns that groups share.

With own unknowns alone every lane solves its own small system. Shared unknowns tie the lanes of a
group by an arrow: (A_ss, A_so; A_os, A_oo), A_oo block diagonal over the lanes. Eliminating the
own blocks (the Schur complement of A_oo) leaves one small system for each group, so that the cost
stays linear in the lanes. Damped equations are positive definite, so Cholesky solves them; singular
directions are told apart by eigenvalues in `fitting.uncertainty.covariance`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normal:
    """Normal equations of lanes: A (n, D, D) and b (n, D), shared unknowns first.

    Attributes:
        matrix: (n, D, D), A, or what stands for the Hessian.
        scale: (n, D), the diagonal of A, by which unknowns are scaled and damped.
        vector: (n, D).
        group: (n,) numbers of groups, 0 to groups - 1; without shared unknowns 0, 1, 2, ...
        groups: How many there are.
        shared: How many of the D unknowns are shared.
    """

    matrix: Tensor
    scale: Tensor
    vector: Tensor
    group: Tensor
    groups: int
    shared: int

    def pooled(self, values: Tensor) -> Tensor:
        """Sum (n, ...) over the lanes of each group."""
        if not self.shared:
            return values  # each lane is a group, in order
        out = values.new_zeros((self.groups, *values.shape[1:]))
        return out.index_add_(0, self.group, values)

    def maximum(self, values: Tensor) -> Tensor:
        """Return the largest of non-negative values (n,) over the lanes of each group."""
        return group_maximum(values, self.group, self.groups) if self.shared else values


def group_maximum(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Return the largest of non-negative values (n, ...) in each group, (G, ...)."""
    out = values.new_zeros((groups, *values.shape[1:]))
    place = group.view(-1, *[1] * (values.ndim - 1)).expand_as(values)
    return out.scatter_reduce_(0, place, values, "amax")


def unpack(packed: Tensor, size: int) -> Tensor:
    """Return symmetric matrices (..., D, D) of lower triangles (..., D (D + 1) / 2)."""
    rows, columns = torch.tril_indices(size, size)
    full = packed.new_zeros((*packed.shape[:-1], size, size))
    full[..., rows, columns] = packed
    full[..., columns, rows] = packed
    return full


def damped_step(normal: Normal, damping: Tensor, frozen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the step (n, D) and which groups have one, (G,).

    With unknowns scaled by the square roots of the diagonal it solves (A + damping I) x = b, which
    is the step of Marquardt (SIAM J. Appl. Math. 11 (1963) 431), whatever the units are.

    Args:
        normal: The equations.
        damping: (G,), added to the diagonal of the equations scaled to a unit diagonal.
        frozen: (n, D), unknowns that stay where they are.
    """
    diagonal = normal.scale
    if normal.shared:
        pooled = normal.pooled(diagonal[:, : normal.shared])
        diagonal = torch.cat([pooled[normal.group], diagonal[:, normal.shared :]], dim=1)
    still = frozen | ~(diagonal > 0.0)
    scale = torch.where(still, 1.0, diagonal.clamp_min(torch.finfo(torch.float64).tiny).sqrt())
    moving = (~still).to(scale.dtype) / scale
    matrix = normal.matrix * moving.unsqueeze(2) * moving.unsqueeze(1)
    vector = normal.vector * moving
    identity = torch.diag_embed(still.to(scale.dtype))
    scaled = replace(normal, matrix=matrix, vector=vector)
    if normal.shared == 0:
        size = matrix.shape[-1]
        added = damping[normal.group, None, None] * torch.eye(size, dtype=matrix.dtype)
        step, good = _solve(matrix + identity + added, vector.unsqueeze(2))
        step = step.squeeze(2)
    else:
        step, good = _arrow(scaled, identity, damping)
    fine = torch.ones(normal.groups, dtype=torch.bool)
    fine[normal.group[~good]] = False
    return step * moving, fine


def _arrow(scaled: Normal, identity: Tensor, damping: Tensor) -> tuple[Tensor, Tensor]:
    """Solve scaled equations whose first unknowns are shared."""
    s = scaled.shared
    own_size = scaled.matrix.shape[-1] - s
    eye = torch.eye(own_size, dtype=scaled.matrix.dtype)
    own = scaled.matrix[:, s:, s:] + identity[:, s:, s:]
    own = own + damping[scaled.group, None, None] * eye
    border = scaled.matrix[:, s:, :s]
    right = torch.cat([border, scaled.vector[:, s:, None]], dim=2)
    solved, good = _solve(own, right)
    reduced = scaled.matrix[:, :s, :s] - border.mT @ solved[:, :, :s]
    target = scaled.vector[:, :s] - (border.mT @ solved[:, :, s:]).squeeze(2)
    # A group's own frozen marks are the same on all its lanes.
    still = torch.zeros(scaled.groups, s, s, dtype=own.dtype)
    still[scaled.group] = identity[:, :s, :s]
    whole = scaled.pooled(reduced) + still
    whole = whole + damping[:, None, None] * torch.eye(s, dtype=own.dtype)
    common, fine = _solve(whole, scaled.pooled(target).unsqueeze(2))
    of_lane = common[scaled.group]
    rest = solved[:, :, s:] - solved[:, :, :s] @ of_lane
    step = torch.cat([of_lane, rest], dim=1).squeeze(2)
    return step, good & fine[scaled.group]


def _solve(matrix: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Solve positive definite systems; where one is not, the solution is 0 and False."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    good = (info == 0) & matrix.isfinite().all(dim=2).all(dim=1)
    factor = torch.where(good[:, None, None], factor, torch.eye(matrix.shape[-1]).to(factor))
    solution = torch.cholesky_solve(right, factor)
    return torch.where(good[:, None, None], solution, 0.0), good
