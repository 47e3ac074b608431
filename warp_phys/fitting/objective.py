"""The objective of solved fits, and the gradient of their log likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.fitting.setting import setting_of
from warp_phys.fitting.settle_level import levels
from warp_phys.fitting.solved import Solved, evaluate_at
from warp_phys.likelihood.density import log_density
from warp_phys.likelihood.groups import agreed, pooled, shared_at
from warp_phys.likelihood.problem import FitProblem


def objective(problem: FitProblem, solved: Solved) -> Tensor:
    """Return the negative log likelihood (G,) of each group, up to a constant.

    Unknown levels of noise are those of maximum likelihood. It is infinite where a trajectory of
    the group could not be integrated to its end.
    """
    if problem.is_squared:
        squares, counted = (
            pooled(problem, part) for part in (solved.sums.squares, solved.sums.counted)
        )
        found = setting_of(problem).levels.objective(squares, counted)
    else:
        density = log_density(problem, solved.z, solved.predicted, _levels(problem, solved))
        found = -pooled(problem, density.sum(dim=(1, 2)))
    if problem.prior is not None:
        found = found - pooled(problem, log_prior(problem, solved.z))
    lost = pooled(problem, (solved.sums.status != 0).double()) > 0.0
    return torch.where(found.isfinite() & ~lost, found, torch.inf)


def log_prior(problem: FitProblem, z: Tensor) -> Tensor:
    """Return the log density (N,) of the priors at coordinates z (N, D); 0 without any.

    Of a shared unknown, each trajectory has its part.
    """
    if problem.prior is None:
        return z.new_zeros(len(z))
    return problem.prior.log_density(problem.unknowns, z, torch.arange(len(z)))


def _levels(problem: FitProblem, solved: Solved) -> Tensor:
    """Return the levels (N, T, O) or (N, 1, O) at which the likelihood is evaluated."""
    if problem.weights is not None:
        return problem.weights.rsqrt()
    return likely_levels(problem, solved.predicted)


def likely_levels(problem: FitProblem, predicted: Tensor) -> Tensor:
    """Return the noise levels (N, 1, O) of maximum likelihood given predictions (N, T, O)."""
    return levels(problem, predicted, problem.distribution.likely_level).unsqueeze(1)


def gradient(problem: FitProblem, solved: Solved) -> Tensor:
    r"""Return the derivatives (N, D) of the log likelihood by the physical values of the unknowns.

    The level s of the noise maximizes the likelihood, so that its own change adds nothing:
    d log p / d theta is the partial derivative at that level. For squared loss this is
    sum_o J_o^T W r_o / s_o^2. Derivatives by shared unknowns are sums over the group. With priors
    it is the gradient of the log posterior.
    """
    sums = solved.sums
    if problem.is_squared:
        squares, counted = (pooled(problem, part) for part in (sums.squares, sums.counted))
        weights = setting_of(problem).levels.weights(squares, counted)[problem.group]
    else:
        level = likely_levels(problem, solved.predicted).squeeze(1)
        if problem.own is None:
            sums, _ = evaluate_at(problem, solved.z, level**-2)
        weights = torch.ones_like(level)
    slopes = _by_unknowns(problem, solved.z, (weights.unsqueeze(2) * sums.gradient).sum(dim=1))
    if problem.prior is not None:
        rows = torch.arange(len(problem))
        by_z, _ = problem.prior.slopes(problem.unknowns, solved.z, rows)
        slopes = slopes - by_z / problem.unknowns.slopes(solved.z)
    shared = problem.unknowns.shared
    if shared:
        total = agreed(problem, slopes[:, :shared], "sum").flatten()
        slopes[:, :shared] = total[shared_at(problem)]
    return torch.where((sums.status == 0).unsqueeze(1), slopes, torch.nan)


def _by_unknowns(problem: FitProblem, z: Tensor, slopes: Tensor) -> Tensor:
    """Return derivatives (N, D) by the unknowns, of those (N, E) by an engine's directions."""
    unknowns, rows = problem.unknowns, torch.arange(len(problem))
    if unknowns.derived is not None:
        # C = dtheta/dz of all directions; the coordinates' own slopes lead back to the values.
        chain = unknowns.by_coordinates(unknowns.chain(z, rows, *unknowns.physical(z, rows)))
        used = (chain != 0.0).any(dim=2)
        slopes = (chain.mT @ torch.where(used, slopes, 0.0).unsqueeze(2)).squeeze(2)
        slopes = slopes / unknowns.slopes(z)
    # What is known in a trajectory does not change there.
    return torch.where(unknowns.estimated(), slopes, 0.0)
