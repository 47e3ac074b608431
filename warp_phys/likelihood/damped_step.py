"""The damped Gauss-Newton step, for a lane's own unknowns and for unknowns shared by groups.

Without shared unknowns every lane solves its own small system. Shared unknowns couple the lanes of
a group in an arrowhead matrix (A_ss, A_so; A_os, A_oo), with A_oo block diagonal over the lanes.
Eliminating the own blocks (the Schur complement of A_oo) leaves one small system for each group, so
that the cost stays linear in the lanes. Where shared unknowns have different groupings, all lanes
that are connected by any of them make one group with W shared unknowns. Each lane has some of them,
and its block is added at their places. Damped equations are positive definite and are solved by
Cholesky factorization; singular directions are found from eigenvalues in
`fitting.uncertainty.covariance`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from warp_phys.likelihood.kernels.lanes import damped_steps


@dataclass(frozen=True)
class Normal:
    """Normal equations of lanes: A (n, D, D) and b (n, D), shared unknowns first.

    Attributes:
        matrix: (n, D, D), A, or another approximation of the Hessian.
        scale: (n, D), the diagonal of A, by which unknowns are scaled and damped.
        vector: (n, D).
        group: (n,) group of each lane, 0 to groups - 1; without shared unknowns 0, 1, 2, ...
        groups: The number of groups.
        shared: How many of the D unknowns are shared.
        places: (n, s), which of the W shared unknowns of its group those of a lane are; None where
            every lane of a group has all of them, in order.
    """

    matrix: Tensor
    scale: Tensor
    vector: Tensor
    group: Tensor
    groups: int
    shared: int
    places: Tensor | None = None

    def pooled(self, values: Tensor) -> Tensor:
        """Sum (n, ...) over the lanes of each group."""
        if not self.shared:
            return values  # each lane is a group, in order
        out = values.new_zeros((self.groups, *values.shape[1:]))
        return out.index_add_(0, self.group, values)

    def collected(self, values: Tensor) -> Tensor:
        """Sum values (n, s) of shared unknowns over each group, (G, W)."""
        if self.places is None:
            return self.pooled(values)
        width = self._width
        out = values.new_zeros(self.groups * width)
        at = self.group.unsqueeze(1) * width + self.places
        return out.index_add_(0, at.flatten(), values.flatten()).view(self.groups, width)

    def collected_pairs(self, values: Tensor) -> Tensor:
        """Sum matrices (n, s, s) of shared unknowns over each group, (G, W, W)."""
        if self.places is None:
            return self.pooled(values)
        width = self._width
        out = values.new_zeros(self.groups * width**2)
        rows = self.group.unsqueeze(1) * width + self.places
        at = rows.unsqueeze(2) * width + self.places.unsqueeze(1)
        out.index_add_(0, at.flatten(), values.flatten())
        return out.view(self.groups, width, width)

    def spread(self, values: Tensor) -> Tensor:
        """Return values (G, W) of shared unknowns at the lanes, (n, s)."""
        mine = values[self.group]
        return mine if self.places is None else mine.gather(1, self.places)

    @property
    def _width(self) -> int:
        return self.shared if self.places is None else int(self.places.max()) + 1

    def maximum(self, values: Tensor) -> Tensor:
        """Return the largest of non-negative values (n,) over the lanes of each group."""
        # Values are non-negative, so that the zeros from which the maximum starts do not matter.
        return group_maximum(values, self.group, self.groups) if self.shared else values


def group_maximum(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Return the largest of non-negative values (n, ...) in each group, (G, ...)."""
    out = values.new_zeros((groups, *values.shape[1:]))
    place = group.view(-1, *[1] * (values.ndim - 1)).expand_as(values)
    return out.scatter_reduce_(0, place, values, "amax")


def unpack(packed: Tensor, size: int) -> Tensor:
    """Return symmetric matrices (..., D, D) of lower triangles (..., D (D + 1) / 2)."""
    full = packed.index_select(-1, _packed_places(size))
    return full.view(*packed.shape[:-1], size, size)


@lru_cache(maxsize=64)
def _packed_places(size: int) -> Tensor:
    """Return (D D,), where the entries of a symmetric matrix are in its packed lower triangle."""
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    high, low = torch.maximum(row, column), torch.minimum(row, column)
    return (high * (high + 1) // 2 + low).flatten()


def damped_step(normal: Normal, damping: Tensor, frozen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the step (n, D) and which groups have one, (G,).

    With E = diag(A) and the scaled step x = E^(1/2) s, it solves
    (E^(-1/2) A E^(-1/2) + damping I) x = E^(-1/2) b, which is the step of Marquardt
    (J. SIAM 11 (1963) 431) and does not depend on the units of the unknowns.

    Args:
        normal: The equations.
        damping: (G,), added to the diagonal of the equations scaled to a unit diagonal.
        frozen: (n, D), unknowns that stay where they are.
    """
    if normal.shared == 0:
        found = damped_steps(normal.matrix, normal.scale, normal.vector, damping, frozen)
        if found is not None:
            return found
    return damped_step_in_torch(normal, damping, frozen)


def damped_step_in_torch(normal: Normal, damping: Tensor, frozen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same as `damped_step`, for shared unknowns too and without a compiler."""
    diagonal = normal.scale
    if normal.shared:
        # A shared unknown has one scale for its whole group, from the summed diagonal: its step is
        # one number, and scales of single lanes would make it several.
        pooled = normal.spread(normal.collected(diagonal[:, : normal.shared]))
        diagonal = torch.cat([pooled, diagonal[:, normal.shared :]], dim=1)
    # An unknown that no sample depends on has a zero diagonal; it stays, as a frozen one does. Its
    # row and column are cleared and 1 is put on the diagonal, so that its step is zero.
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
    """Solve scaled equations whose first unknowns are shared.

    With A_oo regular, A_os x_s + A_oo x_o = b_o gives x_o = A_oo^-1 (b_o - A_os x_s) in every lane,
    and the sum over the lanes of a group is sum(A_ss - A_so A_oo^-1 A_os) x_s
    = sum(b_s - A_so A_oo^-1 b_o).
    """
    s = scaled.shared
    own_size = scaled.matrix.shape[-1] - s
    eye = torch.eye(own_size, dtype=scaled.matrix.dtype)
    own = scaled.matrix[:, s:, s:] + identity[:, s:, s:]
    own = own + damping[scaled.group, None, None] * eye
    border = scaled.matrix[:, s:, :s]
    # One factorization for both right-hand sides: A_oo^-1 [A_os, b_o], (n, o, s + 1).
    right = torch.cat([border, scaled.vector[:, s:, None]], dim=2)
    solved, good = _solve(own, right)
    reduced = scaled.matrix[:, :s, :s] - border.mT @ solved[:, :, :s]
    target = scaled.vector[:, :s] - (border.mT @ solved[:, :, s:]).squeeze(2)
    whole = scaled.collected_pairs(reduced)
    # A shared unknown that stays does so in all lanes that have it: its row is zero and gets a one
    # on the diagonal, once for the group. The same holds for places that no lane of a group has.
    diagonal = whole.diagonal(dim1=1, dim2=2)
    still = scaled.collected(identity[:, :s, :s].diagonal(dim1=1, dim2=2)) > 0.0
    if scaled.places is not None:
        still |= scaled.collected(torch.ones_like(scaled.vector[:, :s])) == 0.0
    diagonal += still.to(own.dtype)
    # Damping is added once for each group, not once for each of its lanes.
    whole = whole + damping[:, None, None] * torch.eye(whole.shape[1], dtype=own.dtype)
    common, fine = _solve(whole, scaled.collected(target).unsqueeze(2))
    of_lane = scaled.spread(common.squeeze(2)).unsqueeze(2)
    rest = solved[:, :, s:] - solved[:, :, :s] @ of_lane
    step = torch.cat([of_lane, rest], dim=1).squeeze(2)
    return step, good & fine[scaled.group]


def _solve(matrix: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Solve positive definite systems; where one is not, the solution is 0 and False."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    good = (info == 0) & matrix.isfinite().all(dim=2).all(dim=1)
    # A failed factorization holds arbitrary numbers; the identity keeps the batched solution
    # finite.
    factor = torch.where(good[:, None, None], factor, torch.eye(matrix.shape[-1]).to(factor))
    solution = torch.cholesky_solve(right, factor)
    return torch.where(good[:, None, None], solution, 0.0), good
