"""Minus the log posterior of records, its gradient and its information, at several points each."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.damped_step import unpack
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.noise_levels import held_levels
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.anchor import Anchor
from warp_phys.minimizing.objective import Minimizer
from warp_phys.models.information.kernels.across import steps_across
from warp_phys.models.information.prior.prior import Prior


class Objective:
    """The objective of the first samples of N records at noise levels that are held.

    Args:
        problem: The records.
        prior: The prior.
        log_level: (N, O), logarithms of the noise levels.
        samples: How many samples of each record count.
        lanes: At how many points each record is evaluated at a time.
    """

    def __init__(
        self, problem: FitProblem, prior: Prior, log_level: Tensor, samples: int, lanes: int
    ) -> None:
        self.rows = torch.arange(len(problem)).repeat(lanes)
        self.every = torch.arange(len(self.rows))
        limit = problem.counts.clamp_max(samples)
        self.minimizer = Minimizer(
            build_engine(problem, self.rows, limit[self.rows]),
            problem.unknowns,
            self.rows,
            self.every,
            # Residuals are already in units of their levels, by way of `precision`.
            held_levels(torch.ones(len(self.rows), log_level.shape[1], dtype=torch.float64)),
            precision=(-2.0 * log_level).exp()[self.rows],
        )
        self.prior = prior
        self.anchor = Anchor(prior.mean.expand(len(self.rows), -1), prior.precision)

    def values(self, z: Tensor, *, sensitivities: bool = False) -> Tensor:
        """Return the objective (C, N) at coordinates z (C, N, D), infinite where there is none."""
        flat, sums = z.flatten(0, 1), self.minimizer.sums
        self.minimizer.evaluate(flat, self.every, sensitivities=sensitivities)
        value = 0.5 * sums.squares.sum(dim=1) + self.anchor.penalty(flat, self.every)
        sound = (sums.status == 0) & value.isfinite()
        return torch.where(sound, value, torch.inf).view(z.shape[:2])

    def equations(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the information (C, N, D, D) and minus the gradient (C, N, D) at z.

        Args:
            z: (C, N, D), at which the objective was evaluated last, with sensitivities.
        """
        flat = z.flatten(0, 1)
        one = torch.ones_like(self.minimizer.sums.squares)
        packed, vector = self.minimizer.equations(flat, self.every, self.every, one)
        self.anchor.add(flat, self.every, packed, vector)
        return unpack(packed, z.shape[2]).view(*z.shape, -1), vector.view(z.shape)

    def across(self, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the objective (C, N), and what `across` returns, at z.

        Args:
            z: (C, N, D), coordinates.
            v: (N, D), the directions.
        """
        value, flat = self.values(z, sensitivities=True), z.flatten(0, 1)
        sums, slopes = self.minimizer.sums, self.minimizer.unknowns.slopes(flat)
        away, precision = flat - self.prior.mean, self.prior.precision
        found = steps_across((sums.hessian, sums.gradient), slopes, away, precision, v)
        if found is None:
            return value, *across(*self.equations(z), v)
        moved, covariance, log_volume = found
        shape = z.shape
        return value, moved.view(shape), covariance.view(*shape, -1), log_volume.view(shape[:2])


def across(information: Tensor, vector: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return step, covariance and log determinant of it, across directions that change v^T z.

    With A^-1 = C and b, minimizing over s with v^T s = 0 gives s = C b - C v (v^T C b) / (v^T C v),
    and the covariance C - C v v^T C / (v^T C v), whose volume is that of C over (v^T C v)^(1/2).

    Args:
        information: A, (C, N, D, D).
        vector: b, (C, N, D).
        v: (N, D).
    """
    inverse = torch.linalg.inv_ex(information)[0]
    along = (inverse @ v.unsqueeze(-1)).squeeze(-1)
    variance = (along * v).sum(dim=-1, keepdim=True)
    free = (inverse @ vector.unsqueeze(-1)).squeeze(-1)
    moved = free - along * (free * v).sum(dim=-1, keepdim=True) / variance
    covariance = inverse - along.unsqueeze(-1) * along.unsqueeze(-2) / variance.unsqueeze(-1)
    log_volume = -torch.linalg.slogdet(information)[1] - variance.squeeze(-1).log()
    return moved, covariance, log_volume
