"""The information about a trajectory's unknowns, which others of its group share in part."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.groups import shared_at
from warp_phys.likelihood.problem import FitProblem

# Eigenvalues of information scaled to a unit diagonal below which its inverse loses the digits by
# which an undetermined direction is told.
_SINGULAR = 1e-6


def joint_information(problem: FitProblem, information: Tensor) -> Tensor:
    """Return the information (N, D, D) whose inverse is the joint covariance of a trajectory.

    With shared unknowns s and own unknowns o, every other trajectory k of the group adds its
    information about s after its own unknowns are eliminated, the Schur complement
    A_ss,k - A_so,k A_oo,k^-1 A_os,k. Shared unknowns of the group that a trajectory does not have
    are eliminated from the sum in the same way.

    Args:
        problem: The problem.
        information: (N, D, D), that of each trajectory alone; zero where an unknown is constant.
    """
    shared = problem.unknowns.shared
    if not shared:
        return information
    own, border = information[:, shared:, shared:], information[:, shared:, :shared]
    # A_so A_oo^-1 A_os, (N, s, s). The pseudo-inverse, because a trajectory may leave some of its
    # own unknowns undetermined; those then take nothing from the shared ones.
    lost = border.mT @ _inverse(own) @ border
    joint = information.clone()
    # The sum holds the trajectory's own Schur complement, too. Adding back what its own unknowns
    # took restores its full block A_ss, next to its own A_oo and A_os.
    joint[:, :shared, :shared] = _of_group(problem, joint[:, :shared, :shared] - lost) + lost
    return joint


def _of_group(problem: FitProblem, parts: Tensor) -> Tensor:
    """Sum parts (N, s, s) over groups; return the information about each one's shared unknowns."""
    unknowns = problem.unknowns
    shared, width = unknowns.shared, unknowns.width
    at = shared_at(problem)
    rows = at.unsqueeze(2) * width + (at % width).unsqueeze(1)
    groups = int(problem.group.max()) + 1
    total = parts.new_zeros(groups * width * width)
    total = total.index_add_(0, rows.flatten(), parts.flatten()).view(groups, width, width)
    known = ~unknowns.estimated()[:, :shared]
    if unknowns.places is None and not known.any():
        return total[problem.group]
    found = torch.zeros_like(parts)
    inverse, sound = _well_conditioned(total)
    # Trajectories with the same shared unknowns have the same result.
    places = at % width
    kinds, kind = torch.unique(torch.cat([at, known.long()], dim=1), dim=0, return_inverse=True)
    first = torch.full((len(kinds),), len(at)).scatter_reduce(
        0, kind, torch.arange(len(at)), "amin"
    )
    for lane, row in zip(first.tolist(), kinds, strict=True):
        kept = (row[shared:] == 0).nonzero()[:, 0]
        group, where = problem.group[lane], places[lane, kept]
        if sound[group]:
            block = _without_constants(total[group], inverse[group], where)
        else:
            block = _marginal(total[group], where)
        found[lane, kept[:, None], kept] = block
    return found[first[kind]]


def _well_conditioned(total: Tensor) -> tuple[Tensor, Tensor]:
    """Return inverses (G, W, W) of information without its constants, and whether they are good."""
    diagonal = total.diagonal(dim1=1, dim2=2)
    alive = diagonal > 0.0
    scale = torch.where(alive, diagonal, 1.0).rsqrt()
    both = scale.unsqueeze(1) * scale.unsqueeze(2)
    scaled = total * both + torch.diag_embed((~alive).to(total.dtype))
    values, vectors = torch.linalg.eigh(scaled.nan_to_num(0.0, 0.0, 0.0))
    sound = (values[:, 0] > _SINGULAR) & scaled.isfinite().all(dim=2).all(dim=1)
    safe = torch.where(sound.unsqueeze(1), values, 1.0)
    return both * ((vectors / safe.unsqueeze(1)) @ vectors.mT), sound


def _without_constants(total: Tensor, inverse: Tensor, kept: Tensor) -> Tensor:
    """Return the information about some unknowns, which is the inverse of their covariance."""
    block = torch.linalg.inv(inverse[kept[:, None], kept])
    alive = total.diagonal()[kept] > 0.0
    return torch.where(alive.unsqueeze(0) & alive.unsqueeze(1), block, 0.0)


def _marginal(total: Tensor, kept: Tensor) -> Tensor:
    """Eliminate all but some unknowns from information (W, W)."""
    others = torch.ones(len(total), dtype=torch.bool)
    others[kept] = False
    rest = others.nonzero()[:, 0]
    border = total[rest][:, kept]
    inner = total[rest][:, rest].unsqueeze(0)
    return total[kept][:, kept] - border.mT @ _inverse(inner)[0] @ border


def _inverse(matrices: Tensor) -> Tensor:
    """Return pseudo-inverses of symmetric matrices (n, k, k), scaled to a unit diagonal."""
    diagonal = matrices.diagonal(dim1=1, dim2=2)
    scale = torch.where(diagonal > 0.0, diagonal, 1.0).rsqrt()
    both = scale.unsqueeze(1) * scale.unsqueeze(2)
    return both * torch.linalg.pinv(matrices * both, hermitian=True)
