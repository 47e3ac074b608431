r"""Noise levels: the concentrated likelihood of residuals, and the weight of each output.

With an unknown level s_o for each output, -log p = sum_o (n_o log s_o + Q_o / (2 s_o^2)) is minimal
at s_o^2 = Q_o / n_o. Up to a constant, the likelihood concentrated over the levels is

    Phi = sum_o n_o / 2 log(Q_o / n_o),     Q_o = r_o^T W r_o,

with one common level it is n / 2 log(Q / n), and with known levels Q / 2. In all three cases the
gradient is that of sum_o v_o Q_o / 2 with the weights v_o = n_o / Q_o, n / Q or 1. Sums run over
the lanes of a group where levels are shared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.damped_step import group_maximum
from warp_phys.likelihood.problem import FitProblem

# Floor of residuals relative to the data. Without it the logarithm of exact fits tends to minus
# infinity, and the minimizer would resolve rounding errors.
_FLOOR = 1e-9
# Mean squares in units of the floor that are still negligible: residuals of 1e-5 of the data.
_NOTHING = 1e8


@dataclass(frozen=True)
class NoiseLevels:
    """The noise levels of G groups: turn sums of squares into an objective and weights.

    Attributes:
        kind: "each", "common" or "known".
        floor: (G, O), mean squares that count as zero.
        variance: (G, O), an unknown level while it is held fixed; or None.
    """

    kind: str
    floor: Tensor
    variance: Tensor | None = None

    def __len__(self) -> int:
        return len(self.floor)

    def of(self, groups: Tensor) -> NoiseLevels:
        """Return the levels of some groups."""
        variance = None if self.variance is None else self.variance[groups]
        return replace(self, floor=self.floor[groups], variance=variance)

    def mean_squares(self, squares: Tensor, counted: Tensor) -> Tensor:
        """Return Q_o / n_o, or Q / n for all outputs, of groups (G, O)."""
        if self.kind == "common":
            squares = squares.sum(dim=1, keepdim=True).expand_as(squares)
            counted = counted.sum(dim=1, keepdim=True).expand_as(counted)
            # Outputs of different sizes are pooled: the floor of the largest applies to the sum.
            floor = self.floor.amax(dim=1, keepdim=True)
        else:
            floor = self.floor
        return squares / counted.clamp_min(1.0) + floor

    def objective(self, squares: Tensor, counted: Tensor) -> Tensor:
        """Return Phi (G,), infinite where a prediction is not finite."""
        return self.objective_and_weights(squares, counted)[0]

    def objective_and_weights(self, squares: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        """Return Phi (G,), infinite where a prediction is not finite, and the weights v (G, O)."""
        if self.kind == "known":
            weights = self.weights(squares, counted)
            return 0.5 * (squares * weights).sum(dim=1), weights
        mean = self.mean_squares(squares, counted)
        return 0.5 * (counted * mean.log()).sum(dim=1), 1.0 / mean

    def least(self, counted: Tensor) -> Tensor:
        """Return the objective (G,) of residuals that are negligible compared with the data."""
        if self.kind == "known":
            return torch.full((len(self),), -torch.inf, dtype=counted.dtype)
        return self.objective(counted * self.floor * _NOTHING, counted)

    def weights(self, squares: Tensor, counted: Tensor) -> Tensor:
        """Return the weights v (G, O)."""
        if self.kind == "known":
            return torch.ones_like(squares) if self.variance is None else 1.0 / self.variance
        return 1.0 / self.mean_squares(squares, counted)


def held_levels(variance: Tensor) -> NoiseLevels:
    """Return levels held fixed at variances (G, O)."""
    return NoiseLevels("known", torch.zeros_like(variance), variance)


def noise_levels(problem: FitProblem, rows: Tensor, group: Tensor) -> NoiseLevels:
    """Return the noise levels of lanes of trajectories rows (L,) in groups (L,)."""
    groups = int(group.max()) + 1
    size = problem.distribution.magnitude(problem.records.observed)
    typical = size.square().nanmean(dim=1).nan_to_num(0.0)
    floor = _FLOOR**2 * group_maximum(typical[rows], group, groups)
    return NoiseLevels(problem.noise, floor.clamp_min(torch.finfo(torch.float64).tiny))
