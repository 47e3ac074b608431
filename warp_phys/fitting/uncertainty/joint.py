"""The information about a trajectory's unknowns, which others of its group share in part."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.groups import shared_at
from warp_phys.likelihood.problem import FitProblem


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
    # Trajectories with the same shared unknowns have the same result.
    kinds, kind = torch.unique(torch.cat([at, known.long()], dim=1), dim=0, return_inverse=True)
    for number, row in enumerate(kinds):
        mine = (kind == number).nonzero()[:, 0]
        kept = (row[shared:] == 0).nonzero()[:, 0]
        where = row[kept] % width
        block = torch.zeros(shared, shared, dtype=parts.dtype)
        block[kept[:, None], kept] = _marginal(total[problem.group[mine[0]]], where)
        found[mine] = block
    return found


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
