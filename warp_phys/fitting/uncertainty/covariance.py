r"""Uncertainty of a fit: noise levels, Fisher information, covariance and what is undetermined.

At the optimum the Fisher information of the unknowns in their real coordinates is
F = sum_o J_o^T W J_o / s_o^2 with the residual variance s_o^2 = (Q_o / n_o) n / (n - p); the
covariance is its inverse, in physical units by the slopes of the supports' bijections. Directions
along which F is nothing beside its other directions, or a standard error would be a factor of
e^10, are undetermined: no unknown that takes part in one gets a standard error.

References:
    D. M. Bates, D. G. Watts, Nonlinear Regression Analysis and Its Applications, Wiley, 1988,
    ch. 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.fitting.minimizing.optimum import Outcome
from warp_phys.fitting.solved import Solved
from warp_phys.likelihood.damped_step import unpack
from warp_phys.likelihood.problem import FitProblem

# Smallest eigenvalue of the information scaled to a unit diagonal that rounding cannot make.
_ROUNDING = 1e-11
# Standard deviation of a logarithm (or of a logit) that says nothing any more.
_USELESS = 10.0
# Least share of an undetermined direction that counts as taking part in it.
_PART = 0.05


@dataclass(frozen=True)
class Uncertainty:
    """What is known about the unknowns of N trajectories.

    Attributes:
        information: (N, D, D), Fisher information in the real coordinates, what was held at the
            end of its support left out.
        covariance: (N, D, D), in physical units; NaN where undetermined.
        line_covariance: (N, D, D), in real coordinates, undetermined directions left out.
        determined: (N, D), whether the data determine each unknown.
        directions: (N, D, D), undetermined directions as columns, in sizes of the coordinates;
            zero columns for the rest.
        noise_variance: (N, O), with n - p degrees of freedom.
        freedom: (N,), degrees of freedom of the noise level; infinite where it is known.
        values: (N,), how many values count, over a group where unknowns are shared.
        estimated: (N,), how many unknowns were estimated from them.
    """

    information: Tensor
    covariance: Tensor
    line_covariance: Tensor
    determined: Tensor
    directions: Tensor
    noise_variance: Tensor
    freedom: Tensor
    values: Tensor
    estimated: Tensor

    def line_errors(self) -> Tensor:
        """Return the standard errors in real coordinates, (N, D), NaN where undetermined."""
        variance = self.line_covariance.diagonal(dim1=1, dim2=2)
        return torch.where(self.determined, variance.clamp_min(0.0).sqrt(), torch.nan)


def uncertainty(problem: FitProblem, solved: Solved) -> Uncertainty:
    """Return the uncertainty of fits; only those that converged have a covariance."""
    unknowns, squared = problem.unknowns, problem.distribution.is_squared
    values, estimated = _counts(problem, solved)
    variance, unit = _noise(problem, solved, values, estimated)
    # Without freedom the level is unknown, but not what the data determine.
    level = torch.where(variance.isfinite(), unit, 1.0)
    slopes = unknowns.slopes(solved.z)
    blocks = unpack(solved.sums.hessian, len(unknowns)) / level[:, :, None, None]
    information = blocks.sum(dim=1) * slopes.unsqueeze(1) * slopes.unsqueeze(2)
    moving = (~solved.frozen).to(information.dtype)
    information = information * moving.unsqueeze(1) * moving.unsqueeze(2)
    information = _joint(problem, information)
    inverse = _inverse(problem, solved, information, variance)
    if problem.noise != "known" and squared and not unknowns.shared:
        # What the data do not determine takes no freedom from the noise.
        fewer = estimated - inverse.lost
        ratio = ((values - estimated) / (values - fewer)).clamp_min(0.0)
        ratio = torch.where(variance.isfinite().all(dim=1) & (ratio > 0.0), ratio, 1.0)
        variance, estimated = variance * ratio.unsqueeze(1), fewer
        information = information / ratio.view(-1, 1, 1)
        inverse = replace(inverse, covariance=inverse.covariance * ratio.view(-1, 1, 1))
    determined = inverse.determined & ~solved.frozen
    physical = inverse.covariance * slopes.unsqueeze(1) * slopes.unsqueeze(2)
    both = determined.unsqueeze(1) & determined.unsqueeze(2)
    freedom = torch.full_like(values, torch.inf)
    if problem.noise != "known":
        freedom = values - estimated
    sound = ((freedom > 0.0) & (solved.outcome == Outcome.CONVERGED)).view(-1, 1, 1)
    return Uncertainty(
        information=torch.where(sound, information, torch.nan),
        covariance=torch.where(both & sound, physical, torch.nan),
        line_covariance=inverse.covariance,
        determined=determined,
        directions=inverse.directions,
        noise_variance=variance,
        freedom=freedom,
        values=values,
        estimated=estimated,
    )


def _pooled(problem: FitProblem, values: Tensor) -> Tensor:
    """Return sums over each trajectory's group, at every trajectory."""
    if not problem.unknowns.shared:
        return values
    out = values.new_zeros((int(problem.group.max()) + 1, *values.shape[1:]))
    return out.index_add_(0, problem.group, values)[problem.group]


def _counts(problem: FitProblem, solved: Solved) -> tuple[Tensor, Tensor]:
    shared = problem.unknowns.shared
    usable = (solved.sums.status == 0).double()
    moving = (~solved.frozen).double()
    own = moving[:, shared:].sum(dim=1) * usable
    estimated = _pooled(problem, own) + moving[:, :shared].sum(dim=1)
    return _pooled(problem, solved.sums.counted.sum(dim=1)), estimated


def _noise(
    problem: FitProblem, solved: Solved, values: Tensor, estimated: Tensor
) -> tuple[Tensor, Tensor]:
    """Return noise variances (N, O), NaN without freedom, and what sums are divided by.

    The latter makes information of the sums at the optimum; it is the variance for squared loss.
    """
    ones = torch.ones_like(solved.sums.squares)
    if not problem.distribution.is_squared:
        return _noise_of_loss(problem, solved, values, estimated)
    if problem.noise == "known":
        return ones, ones
    squares, counted = (
        _pooled(problem, part.nan_to_num(0.0, posinf=0.0))
        for part in (solved.sums.squares, solved.sums.counted)
    )
    if problem.noise == "common":
        squares = squares.sum(dim=1, keepdim=True).expand_as(squares)
        counted = counted.sum(dim=1, keepdim=True).expand_as(counted)
    freedom = (values - estimated).unsqueeze(1)
    spread = torch.where(freedom > 0.0, values.unsqueeze(1) / freedom, torch.nan)
    variance = squares / counted.clamp_min(1.0) * spread
    # Exact data leave a level of zero; the information then has no finite value.
    variance = variance.clamp_min(torch.finfo(torch.float64).tiny)
    return variance, variance


def _noise_of_loss(
    problem: FitProblem, solved: Solved, values: Tensor, estimated: Tensor
) -> tuple[Tensor, Tensor]:
    """See `_noise`, for a loss that is not square: at the level at which it was taken."""
    noise = problem.distribution
    level = torch.where(solved.variance.isfinite(), solved.variance, 1.0).sqrt()
    residuals = problem.residuals(solved.predicted)
    if problem.weights is not None:
        residuals = residuals * problem.weights.sqrt()
    scaled = residuals / level.unsqueeze(1)
    if problem.noise != "known":
        freedom = (values - estimated).unsqueeze(1)
        share = torch.where(freedom > 0.0, values.unsqueeze(1) / freedom, torch.nan).sqrt()
        level = noise.unbiased_level(level, share)
    return level.square(), noise.information_unit(scaled, level)


def _joint(problem: FitProblem, information: Tensor) -> Tensor:
    """Return the information (N, D, D) whose inverse is the joint covariance of a trajectory.

    Other trajectories of the group add to what is known of shared unknowns: their own unknowns
    eliminated, by Schur complements.
    """
    shared = problem.unknowns.shared
    if not shared:
        return information
    own, border = information[:, shared:, shared:], information[:, shared:, :shared]
    lost = border.mT @ torch.linalg.pinv(own, hermitian=True) @ border
    joint = information.clone()
    joint[:, :shared, :shared] = _pooled(problem, joint[:, :shared, :shared] - lost) + lost
    return joint


@dataclass(frozen=True)
class _Inverse:
    """Pseudo-inverse of information and what it leaves out.

    Attributes:
        covariance: (N, D, D).
        determined: (N, D).
        directions: (N, D, D), see `Uncertainty`.
        lost: (N,), how many directions the data say nothing about.
    """

    covariance: Tensor
    determined: Tensor
    directions: Tensor
    lost: Tensor


def _inverse(
    problem: FitProblem, solved: Solved, information: Tensor, variance: Tensor
) -> _Inverse:
    """Invert information (N, D, D), leaving out what only rounding makes of it."""
    usable = information.isfinite().all(dim=2).all(dim=1)
    safe = torch.where(usable[:, None, None], information, 0.0)
    diagonal = safe.diagonal(dim1=1, dim2=2)
    scale = torch.where(diagonal > 0.0, diagonal, 1.0).rsqrt()
    values, vectors = torch.linalg.eigh(safe * scale.unsqueeze(1) * scale.unsqueeze(2))
    # Held unknowns leave a zero behind that says nothing about the data.
    held = (solved.frozen.unsqueeze(2) * vectors.square()).sum(dim=1) > 0.5
    lost = (values <= _ROUNDING) & ~held & usable.unsqueeze(1)
    inverse = torch.where(lost | held, 0.0, 1.0 / values.clamp_min(_ROUNDING))
    line = vectors * scale.unsqueeze(2)
    covariance = (line * inverse.unsqueeze(1)) @ line.mT
    relative = line / problem.unknowns.sizes(solved.z).unsqueeze(2)
    unit = _to_unit(relative)
    determined = ~((unit.abs() > _PART) & lost.unsqueeze(1)).any(dim=2) & usable.unsqueeze(1)
    directions = torch.where(lost.unsqueeze(1), unit, 0.0)
    vague = _vague(problem, solved, covariance, variance) & usable.unsqueeze(1)
    directions = _with_vague(directions, vague & determined, covariance)
    covariance = torch.where(usable[:, None, None], covariance, torch.nan)
    return _Inverse(covariance, determined & ~vague, directions, lost.sum(dim=1))


def _vague(problem: FitProblem, solved: Solved, covariance: Tensor, known_noise: Tensor) -> Tensor:
    """Return (N, D): known to within a factor so large that it says nothing."""
    errors = covariance.diagonal(dim1=1, dim2=2).clamp_min(0.0).sqrt()
    measured = known_noise.isfinite().all(dim=1) & ~solved.exact
    return ~problem.unknowns.real & (errors > _USELESS) & measured.unsqueeze(1)


def _with_vague(directions: Tensor, vague: Tensor, covariance: Tensor) -> Tensor:
    """Add the direction in which the vague unknowns vary most, (N, D, D)."""
    rows = vague.any(dim=1).nonzero()[:, 0]
    if rows.numel() == 0:
        return directions
    chosen = vague[rows].to(covariance.dtype)
    part = covariance[rows] * chosen.unsqueeze(1) * chosen.unsqueeze(2)
    widest = torch.linalg.eigh(part).eigenvectors[:, :, -1:]
    free = (directions[rows] == 0.0).all(dim=1).long().argmax(dim=1)
    place = torch.nn.functional.one_hot(free, directions.shape[2]).unsqueeze(1)
    added = directions.clone()
    added[rows] = directions[rows] + _to_unit(widest) * place
    return added


def _to_unit(columns: Tensor) -> Tensor:
    """Scale columns to a largest entry of 1."""
    return columns / columns.abs().amax(dim=1, keepdim=True).clamp_min(1e-300)
