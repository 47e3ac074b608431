r"""The optima that the starts of a search reached, told apart by their parameters.

Two fits are at the same optimum if their parameters differ by little, measured in standard errors:
by the length sqrt(d^T F d) of their difference d of coordinates, with the Fisher information F at
the best optimum. Differences along directions that the data do not determine have no length, so
that they make no artificial optima; parameters that merely have equal likelihoods are different
optima. Fits along a valley, which leads to an end of the support for instance, are far from each
other, but the objective does not rise between them: they are at the same optimum, too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.fitting.coarse_problem import coarse_levels
from warp_phys.fitting.reached import Reached
from warp_phys.fitting.setting import setting_of
from warp_phys.fitting.solved import Solved
from warp_phys.fitting.stages import coarse_objectives
from warp_phys.fitting.uncertainty.covariance import by_coordinates
from warp_phys.likelihood.damped_step import group_maximum, unpack
from warp_phys.likelihood.groups import pooled, values_of
from warp_phys.likelihood.problem import FitProblem

# Coarse fits of one optimum differ by less than this many standard errors, or relatively by less
# than the second number; around other optima than the best one F is only an approximation, and both
# are wider.
_NEAR, _RELATIVE = 0.3, 1e-3
_NEAR_OTHER, _RELATIVE_OTHER = 2.0, 1e-2
# Halfway between fits of one optimum, the objective is above both by less than this many nats, and
# nats per value.
_RISE, _PER_VALUE = 0.05, 1e-4
# Objectives that differ by less than this many nats are those of equally good fits.
_LEVEL = 0.5
# Smallest eigenvalue of the information, scaled to a unit diagonal, below which optima are a
# continuum: it is curved, and the length of a chord of it says nothing.
_SINGULAR = 1e-10


def count_optima(problem: FitProblem, reached: Reached, best: Solved) -> tuple[Tensor, Tensor]:
    """Return how many starts reached the best optimum, and how many optima were reached, (G,)."""
    metric = _Metric(problem, best)
    order = reached.objective.argsort(dim=0, stable=True)
    objective = reached.objective.gather(0, order)
    lanes = order[:, problem.group]
    z = reached.z.gather(0, lanes.unsqueeze(2).expand_as(reached.z))
    tried = objective.isfinite()
    close = tried & level(problem, objective)
    near = close & metric.near(z - z[0], _NEAR, _RELATIVE)
    near |= _without_rise(problem, z, objective, close & ~near)
    # A fit that stopped before it converged has reached no optimum, except if it is the best one.
    slack = _RISE + _PER_VALUE * values_of(problem)
    settled = reached.converged.gather(0, order) & tried & ~near
    first = torch.zeros_like(tried)
    first[0] = tried[0]
    for place in range(1, len(z)):
        if not bool(settled[place].any()):
            continue
        known = metric.near(z[:place] - z[place], _NEAR_OTHER, _RELATIVE_OTHER)
        known &= objective[:place] >= objective[place] - slack
        first[place] = settled[place] & ~(known & first[:place]).any(dim=0)
    return near.sum(dim=0), first.sum(dim=0)


def level(problem: FitProblem, objective: Tensor) -> Tensor:
    """Return (K, G): which objectives are as low as the lowest, within half a standard error."""
    return objective <= objective.amin(dim=0) + _LEVEL + _PER_VALUE * values_of(problem)


def _without_rise(problem: FitProblem, z: Tensor, objective: Tensor, ask: Tensor) -> Tensor:
    """Return (K, G): whether the objective does not rise between the first fit and another."""
    if not bool(ask.any()):
        return ask
    between = coarse_objectives(problem, 0.5 * (z + z[0]), ask)
    return ask & (between <= objective + _RISE + _PER_VALUE * values_of(problem))


class _Metric:
    """Distances between fits of N trajectories in G groups, by the information at the best one."""

    def __init__(self, problem: FitProblem, best: Solved) -> None:
        self.problem, self.group = problem, problem.group
        levels = coarse_levels(setting_of(problem).levels)
        self.groups = len(levels)
        sums, slopes = best.sums, problem.unknowns.slopes(best.z)
        weights = levels.weights(pooled(problem, sums.squares), pooled(problem, sums.counted))
        size = len(problem.unknowns.directions())
        blocks = unpack(sums.hessian, size) * weights[self.group, :, None, None]
        information = by_coordinates(problem, best.z, blocks.sum(dim=1), slopes)
        self.information = information.nan_to_num(0.0, posinf=0.0, neginf=0.0)
        self.sizes = problem.unknowns.sizes(best.z)
        self.singular = group_maximum(self._singular().double(), self.group, self.groups) > 0.0

    def _singular(self) -> Tensor:
        diagonal = self.information.diagonal(dim1=1, dim2=2)
        scale = torch.where(diagonal > 0.0, diagonal, 1.0).rsqrt()
        scaled = self.information * scale.unsqueeze(1) * scale.unsqueeze(2)
        # An unknown on which nothing depends has a zero row: no length, and no curvature either.
        scaled = scaled + torch.diag_embed((diagonal <= 0.0).to(scaled.dtype))
        return torch.linalg.eigvalsh(scaled).amin(dim=1) < _SINGULAR

    def near(self, away: Tensor, errors: float, relative: float) -> Tensor:
        """Return (k, G): whether differences (k, N, D) are those of fits at one optimum.

        Args:
            away: Differences of coordinates.
            errors: The largest length, in standard errors.
            relative: The relative difference that is always negligible.
        """
        squares = torch.einsum("knd,nde,kne->nk", away, self.information, away)
        # Shared unknowns are equal in all lanes, so that the forms of the lanes add up to that of
        # the joint information.
        length = pooled(self.problem, squares).clamp_min(0.0).sqrt().T
        share = (away.abs() / self.sizes).amax(dim=2).T.nan_to_num(torch.inf)
        negligible = relative >= group_maximum(share, self.group, self.groups).T
        return (length <= errors) | negligible | self.singular
