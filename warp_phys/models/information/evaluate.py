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
from warp_phys.models.information.prior import Prior


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
        self.anchor = Anchor(prior.mean.expand(len(self.rows), -1), prior.precision)

    def values(self, z: Tensor, *, sensitivities: bool = False) -> Tensor:
        """Return the objective (C, N) at coordinates z (C, N, D), infinite where there is none."""
        flat, sums = z.flatten(0, 1), self.minimizer.sums
        self.minimizer.evaluate(flat, self.every, sensitivities=sensitivities)
        value = 0.5 * sums.squares.sum(dim=1) + self.anchor.penalty(flat, self.every)
        sound = (sums.status == 0) & value.isfinite()
        return torch.where(sound, value, torch.inf).view(z.shape[:2])

    def equations(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return objective (C, N), information (C, N, D, D) and minus the gradient (C, N, D)."""
        value = self.values(z, sensitivities=True)
        flat = z.flatten(0, 1)
        one = torch.ones_like(self.minimizer.sums.squares)
        packed, vector = self.minimizer.equations(flat, self.every, self.every, one)
        self.anchor.add(flat, self.every, packed, vector)
        return value, unpack(packed, z.shape[2]).view(*z.shape, -1), vector.view(z.shape)
