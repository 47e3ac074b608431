"""A noise model of a user's own, in one file, without a level: counts."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from warp_phys.systems.noise.location_scale import SquaredLoss
from warp_phys.systems.noise.noise import Floats, Noise, Values


class Poisson(Noise):
    """Counts about an expected number."""

    name = "users_poisson"
    label = "Poisson"
    level_name = None
    wanted = "a count"

    def impossible(self, observed: Values) -> Values:
        """Return what is negative or fractional."""
        return (observed < 0.0) | (observed != observed // 1.0) & (observed == observed)

    def undefined(self, predicted: Values) -> Values:
        """Return expected numbers that are negative."""
        return predicted < 0.0

    def squared(self) -> Noise:
        """Return least squares."""
        return SquaredLoss(self)

    def loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return 2 (f - y log f)."""
        return 2.0 * (predicted - observed * predicted.log())

    def information(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return 1 / f."""
        return 1.0 / predicted

    def log_density(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return y log f - f - log y!."""
        return -0.5 * self.loss(observed, predicted, level) - torch.lgamma(observed + 1.0)

    def draw(self, predicted: Floats, level: Floats, uniform: Floats) -> Floats:
        """Return counts."""
        missing = np.isnan(predicted)
        counts: Floats = stats.poisson.ppf(uniform, np.where(missing, 1.0, predicted))
        return np.where(missing, np.nan, counts)
