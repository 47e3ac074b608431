r"""Uncertainty of a fit: noise levels, Fisher information, covariance and identifiability.

At the optimum the Fisher information of the unknowns in their real coordinates is
F = sum_o J_o^T W J_o / s_o^2 with the residual variance s_o^2 = (Q_o / n_o) n / (n - p). The
covariance matrix is its inverse; the slopes of the bijections convert it to physical units.
Directions in which F is negligible compared with its other directions, or in which a standard
error would exceed a factor of e^10, are undetermined: no unknown that takes part in such a
direction gets a standard error.

References:
    D. M. Bates, D. G. Watts, Nonlinear Regression Analysis and Its Applications, Wiley, 1988,
    ch. 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.fitting.solved import Solved
from warp_phys.fitting.uncertainty.joint import joint_information
from warp_phys.likelihood.damped_step import unpack
from warp_phys.likelihood.groups import over_group, unknowns_of_group
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.optimum import Outcome
from warp_phys.systems.noise.sample_terms import LEVEL

# Eigenvalues of the information, scaled to a unit diagonal, that rounding alone can produce: with
# a margin over the machine epsilon, 2e-16, for sums over many samples and eigenvectors.
_ROUNDING = 1e-11
# A standard deviation of a logarithm (or of a logit) this large is no information: a factor of
# e^10.
_USELESS = 10.0
# An unknown takes part in an undetermined direction from this share of its largest entry on.
_PART = 0.05


@dataclass(frozen=True)
class Uncertainty:
    """The uncertainty of the unknowns of N trajectories.

    Attributes:
        information: (N, D, D), Fisher information in the real coordinates; the rows and columns of
            unknowns that are known in a trajectory, or were held at the end of their support, are
            zero.
        covariance: (N, D, D), in physical units; NaN where undetermined.
        line_covariance: (N, D, D), in real coordinates, without the undetermined directions.
        determined: (N, D), whether the data determine each unknown.
        directions: (N, D, D), undetermined directions as columns, in units of the sizes of the
            coordinates; the other columns are zero.
        noise_variance: (N, O), with n - p degrees of freedom.
        freedom: (N,), degrees of freedom n - p of the noise level; infinite where it is known.
        values: (N,), the number n of values that count, over a group where unknowns are shared.
        estimated: (N,), the number p of unknowns that were estimated from them.
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
    """Return the uncertainty of fits; only fits that converged have a covariance."""
    unknowns, squared = problem.unknowns, problem.is_squared
    values, estimated = _counts(problem, solved)
    variance, unit = _noise(problem, solved, values, estimated)
    # With n <= p the noise level is unknown, but identifiability does not depend on it.
    level = torch.where(variance.isfinite(), unit, 1.0)
    slopes = unknowns.slopes(solved.z)
    # F_o = J_o^T W J_o / s_o^2 for each output, (N, O, D, D), by the physical values. The sums over
    # outputs add because the noise of different outputs is independent.
    size = len(unknowns.directions())
    blocks = unpack(solved.sums.hessian, size) / level[:, :, None, None]
    information = by_coordinates(problem, solved.z, blocks.sum(dim=1), slopes)
    if problem.prior is not None:
        # The curvature of the log posterior, whose inverse is the covariance of its normal
        # approximation.
        every = torch.arange(len(problem))
        information = information + problem.prior.slopes(unknowns, solved.z, every)[1]
    # An unknown at the end of its support counts as a constant: without its rows and columns the
    # inverse is the covariance conditional on it. A derivative may be infinite at a known value.
    moving = _moving(problem, solved)
    both = moving.unsqueeze(1) & moving.unsqueeze(2)
    information = torch.where(both, information, 0.0)
    information = joint_information(problem, information)
    inverse = _inverse(problem, solved, information, variance)
    if problem.noise != "known" and squared and not unknowns.shared:
        # A direction the data do not determine fits no noise, so it costs no degree of freedom:
        # s^2 = Q / (n - p) becomes Q / (n - p + lost). Information and covariance scale with s^2.
        fewer = estimated - inverse.lost
        ratio = ((values - estimated) / (values - fewer)).clamp_min(0.0)
        ratio = torch.where(variance.isfinite().all(dim=1) & (ratio > 0.0), ratio, 1.0)
        variance, estimated = variance * ratio.unsqueeze(1), fewer
        information = information / ratio.view(-1, 1, 1)
        inverse = replace(inverse, covariance=inverse.covariance * ratio.view(-1, 1, 1))
    # Back to physical units by the delta method: C_theta = diag(dtheta/dz) C_z diag(dtheta/dz).
    determined = inverse.determined & ~solved.frozen
    physical = inverse.covariance * slopes.unsqueeze(1) * slopes.unsqueeze(2)
    # What is known in a trajectory has neither variance nor covariance there.
    known = ~unknowns.estimated()
    physical = torch.where(known.unsqueeze(1) | known.unsqueeze(2), 0.0, physical)
    both = determined.unsqueeze(1) & determined.unsqueeze(2)
    freedom = torch.full_like(values, torch.inf)
    if problem.noise != "known" or problem.frees_levels:
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


def by_coordinates(problem: FitProblem, z: Tensor, information: Tensor, slopes: Tensor) -> Tensor:
    """Return information F_z = C^T F C (N, D, D) with C = dtheta/dz, diagonal by `slopes` (N, D).

    C is dense where quantities follow from the unknowns.
    """
    unknowns, rows = problem.unknowns, torch.arange(len(problem))
    if unknowns.derived is None:
        return information * slopes.unsqueeze(1) * slopes.unsqueeze(2)
    chain = unknowns.by_coordinates(unknowns.chain(z, rows, *unknowns.physical(z, rows)))
    used = (chain != 0.0).any(dim=2)
    both = used.unsqueeze(1) & used.unsqueeze(2)
    return chain.mT @ torch.where(both, information, 0.0) @ chain


def _counts(problem: FitProblem, solved: Solved) -> tuple[Tensor, Tensor]:
    # A trajectory that could not be integrated contributes no values, so its own unknowns must not
    # count in p, either.
    moving = _moving(problem, solved) & ~problem.unknowns.noisy
    estimated = unknowns_of_group(problem, moving, solved.sums.status == 0)
    return over_group(problem, solved.sums.counted.sum(dim=1)), estimated


def _moving(problem: FitProblem, solved: Solved) -> Tensor:
    """Return (N, D): the unknowns that were estimated and not held at the end of their support."""
    return problem.unknowns.estimated() & ~solved.frozen


def _noise(
    problem: FitProblem, solved: Solved, values: Tensor, estimated: Tensor
) -> tuple[Tensor, Tensor]:
    """Return noise variances (N, O), NaN without degrees of freedom, and the divisor of the sums.

    Dividing the sums at the optimum by the latter gives the Fisher information; for squared loss it
    is the variance itself.
    """
    ones = torch.ones_like(solved.sums.squares)
    if problem.is_whole:
        unit = _of_free_levels(problem, values, estimated)
        return unit, unit
    if not problem.is_squared:
        return _noise_of_loss(problem, solved, values, estimated)
    if problem.noise == "known":
        return ones, ones
    squares, counted = (
        over_group(problem, part.nan_to_num(0.0, posinf=0.0))
        for part in (solved.sums.squares, solved.sums.counted)
    )
    if problem.noise == "common":
        squares = squares.sum(dim=1, keepdim=True).expand_as(squares)
        counted = counted.sum(dim=1, keepdim=True).expand_as(counted)
    # The maximum likelihood estimate Q_o / n_o is biased low, because the fit follows part of the
    # noise. n / (n - p) corrects this with all outputs' degrees of freedom together: the p unknowns
    # cannot be divided among the outputs.
    freedom = (values - estimated).unsqueeze(1)
    spread = torch.where(freedom > 0.0, values.unsqueeze(1) / freedom, torch.nan)
    variance = squares / counted.clamp_min(1.0) * spread
    # Noiseless data give a variance of zero, by which the information cannot be divided.
    variance = variance.clamp_min(torch.finfo(torch.float64).tiny)
    return variance, variance


def _of_free_levels(problem: FitProblem, values: Tensor, estimated: Tensor) -> Tensor:
    """Return by how much (N, O) variances of outputs with unknown levels are larger than estimated.

    Levels that are estimated jointly are those of maximum likelihood. As for least squares, n / (n -
    p) corrects the variance, with the number p of unknowns that are not of the noise. Other noise,
    and levels with priors, need no correction.
    """
    unit = torch.ones(len(values), len(problem.records.outputs), dtype=values.dtype)
    if not problem.frees_levels:
        return unit
    assert problem.own is not None
    freedom = values - estimated
    spread = torch.where(freedom > 0.0, values / freedom.clamp_min(1.0), torch.nan)
    for output, names in enumerate(problem.own.names):
        if LEVEL in names:
            unit[:, output] = spread
    return unit


def _noise_of_loss(
    problem: FitProblem, solved: Solved, values: Tensor, estimated: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the same as `_noise` for a loss that is not squared, at the level of the fit."""
    noise = problem.distribution
    level = torch.where(solved.variance.isfinite(), solved.variance, 1.0).sqrt()
    residuals = problem.residuals(solved.predicted)
    if problem.weights is not None:
        residuals = residuals * problem.weights.sqrt()
    # For Huber's loss the divisor is the sandwich s^2 E psi^2 / (E psi')^2 over these scaled
    # residuals (Huber and Ronchetti 2009, sec. 7.6); for a density of its own it is 1.
    scaled = residuals / level.unsqueeze(1)
    if problem.noise != "known":
        freedom = (values - estimated).unsqueeze(1)
        share = torch.where(freedom > 0.0, values.unsqueeze(1) / freedom, torch.nan).sqrt()
        level = noise.unbiased_level(level, share)
    return level.square(), noise.information_unit(scaled, level)


@dataclass(frozen=True)
class _Inverse:
    """The pseudo-inverse of the information, and the directions that it leaves out.

    Attributes:
        covariance: (N, D, D).
        determined: (N, D).
        directions: (N, D, D), see `Uncertainty`.
        lost: (N,), how many directions the data do not determine.
    """

    covariance: Tensor
    determined: Tensor
    directions: Tensor
    lost: Tensor


def _inverse(
    problem: FitProblem, solved: Solved, information: Tensor, variance: Tensor
) -> _Inverse:
    """Invert information (N, D, D), leaving out eigenvalues that are rounding errors."""
    usable = information.isfinite().all(dim=2).all(dim=1)
    safe = torch.where(usable[:, None, None], information, 0.0)
    diagonal = safe.diagonal(dim1=1, dim2=2)
    # C = S F S with S = diag(F)^(-1/2) has a unit diagonal, so that its eigenvalues do not depend
    # on units and one threshold suits all systems. F^-1 = S V diag(1 / lambda) V^T S.
    scale = torch.where(diagonal > 0.0, diagonal, 1.0).rsqrt()
    values, vectors = torch.linalg.eigh(safe * scale.unsqueeze(1) * scale.unsqueeze(2))
    # A held unknown has a zero row, hence an eigenvalue of zero whose eigenvector is that unknown
    # alone. It was held by choice and must not be reported as undetermined by the data.
    constant = ~_moving(problem, solved)
    held = (constant.unsqueeze(2) * vectors.square()).sum(dim=1) > 0.5
    lost = (values <= _ROUNDING) & ~held & usable.unsqueeze(1)
    inverse = torch.where(lost | held, 0.0, 1.0 / values.clamp_min(_ROUNDING))
    line = vectors * scale.unsqueeze(2)
    covariance = (line * inverse.unsqueeze(1)) @ line.mT
    # An undetermined direction is a change S v of the coordinates, judged relative to their sizes:
    # 1 for logarithms and logits, the value itself for real unknowns.
    relative = line / problem.unknowns.sizes(solved.z).unsqueeze(2)
    unit = _to_unit(relative)
    determined = ~((unit.abs() > _PART) & lost.unsqueeze(1)).any(dim=2) & usable.unsqueeze(1)
    directions = torch.where(lost.unsqueeze(1), unit, 0.0)
    vague = _vague(problem, solved, covariance, variance) & usable.unsqueeze(1)
    directions = _with_vague(directions, vague & determined, covariance)
    covariance = torch.where(usable[:, None, None], covariance, torch.nan)
    return _Inverse(covariance, determined & ~vague, directions, lost.sum(dim=1))


def _vague(problem: FitProblem, solved: Solved, covariance: Tensor, known_noise: Tensor) -> Tensor:
    """Return (N, D): whether the standard error spans a factor too large to be of use."""
    errors = covariance.diagonal(dim1=1, dim2=2).clamp_min(0.0).sqrt()
    # Without a noise level, or with residuals that are rounding errors, standard errors have no
    # scale. Real unknowns are exempt, because their errors are in units of their own.
    measured = known_noise.isfinite().all(dim=1) & ~solved.exact
    return ~problem.unknowns.real & (errors > _USELESS) & measured.unsqueeze(1)


def _with_vague(directions: Tensor, vague: Tensor, covariance: Tensor) -> Tensor:
    """Add the direction in which the vague unknowns have the largest variance, (N, D, D)."""
    rows = vague.any(dim=1).nonzero()[:, 0]
    if rows.numel() == 0:
        return directions
    chosen = vague[rows].to(covariance.dtype)
    part = covariance[rows] * chosen.unsqueeze(1) * chosen.unsqueeze(2)
    # The leading eigenvector of the vague unknowns' block of the covariance: `eigh` sorts
    # eigenvalues in ascending order. It goes into the first column that is still zero.
    widest = torch.linalg.eigh(part).eigenvectors[:, :, -1:]
    free = (directions[rows] == 0.0).all(dim=1).long().argmax(dim=1)
    place = torch.nn.functional.one_hot(free, directions.shape[2]).unsqueeze(1)
    added = directions.clone()
    added[rows] = directions[rows] + _to_unit(widest) * place
    return added


def _to_unit(columns: Tensor) -> Tensor:
    """Scale columns to a largest entry of 1."""
    return columns / columns.abs().amax(dim=1, keepdim=True).clamp_min(1e-300)
