r"""Noise of counts: whole numbers y = 0, 1, 2, ... about their expected number f.

Least squares, with which a fit starts, are in square roots, in which counts have nearly the same
variance whatever f,

.. math:: g(y) = 2 \sqrt{y + 3/8}, \qquad \operatorname{Var} g(y) \approx 1.

References:
    F. J. Anscombe, Biometrika 35 (1948) 246-254, doi:10.1093/biomet/35.3-4.246.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems.noise.location_scale import SquaredLoss
from warp_phys.systems.noise.noise import Floats, Noise, Values

# Expected numbers down to this far below zero are rounding errors of an integration.
_ROUNDING = 1e-9
_SHIFT = 0.375
# The information 1 / V(f) is infinite where nothing is expected; it is bounded there.
_LEAST = 1e-9


class CountNoise(Noise):
    """Noise of counts without a level: a subclass says loss, variance, log density and quantiles.

    Its variance follows from the prediction, so that the sum of squared Pearson residuals
    (y - f) / sqrt(V(f)) tells whether the counts scatter as much as they should.
    """

    level_name = None
    chi_square = True
    wanted = "nonnegative"

    def impossible(self, observed: Values) -> Any:
        """Return what is negative or fractional."""
        missing = observed != observed
        return (observed < 0.0) | ~((observed == observed // 1.0) | missing)

    def undefined(self, predicted: Values) -> Any:
        """Return expected numbers that are negative by more than a rounding error."""
        return predicted < -_ROUNDING

    def squared(self) -> Noise:
        """Return least squares in square roots."""
        return SquaredLoss(self)

    def transformed(self, value: Tensor) -> Tensor:
        """Return 2 sqrt(y + 3/8)."""
        return 2.0 * (value.clamp_min(0.0) + _SHIFT).sqrt()

    def magnitude(self, observed: Tensor) -> Tensor:
        """Return the transformed value, in whose scale residuals are."""
        return self.transformed(observed)

    def standardized(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return differences of square roots, whose variance is nearly 1."""
        del level
        return self.residual(observed, predicted)

    @abstractmethod
    def variance(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return the variance V(f)."""

    @abstractmethod
    def excess(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return the excess kurtosis, E[(y - f)^4] / V(f)^2 - 3."""

    @abstractmethod
    def quantile_of(self, predicted: Floats, uniform: Floats) -> Floats:
        """Return quantiles at positive predictions."""

    def information(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return 1 / V(f), as for every exponential family with mean f."""
        return 1.0 / self.variance(predicted.clamp_min(_LEAST), level)

    def scatter(self, observed: Tensor, predicted: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return squared Pearson residuals, whose mean is 1, and their variance."""
        f = predicted.clamp_min(_LEAST)
        square = (observed - f).square() / self.variance(f, level)
        return square, 2.0 + self.excess(f, level)

    def draw(self, predicted: Floats, level: Floats, uniform: Floats) -> Floats:
        """Return counts, by inversion."""
        del level
        missing = np.isnan(predicted)
        zero = ~missing & (predicted <= 0.0)
        usable = np.where(missing | zero, 1.0, predicted)
        counts = np.where(zero, 0.0, self.quantile_of(usable, uniform))
        return np.where(missing, np.nan, counts)


def log_ratio(count: Tensor, expected: Tensor) -> Tensor:
    """Return y log(y / f), which is 0 for y = 0 whatever f."""
    some = count > 0.0
    # Selected inside the logarithm, because the derivative of log 0 is not finite.
    ratio = torch.where(some, count, 1.0) / torch.where(some, expected, 1.0)
    return count * ratio.log()
