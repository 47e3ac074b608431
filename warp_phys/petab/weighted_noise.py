r"""Normal noise whose level is part of the model: any formula of states and parameters.

Every measurement y with prediction f and level s is two outputs, its residual r = (y - f) / s and
log s, for

    -2 log p(y) = r^2 + 2 log s + log(2 pi).

"Observed" are 0 for the residual, and a first guess of log s, which is never 0. By Fisher scoring
the information about r, which depends on f / s, is 1; that about log s is 1 as well, beside what r
contributes (r changes by -r if log s changes by 1, and r^2 is 1 on average): 2 in all, as for any
normal noise.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems.noise.location_scale import NormalErrors
from warp_phys.systems.noise.noise import Floats, Noise

_LOG_ROOT_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class WeightedNoise(Noise):
    """Normal noise of outputs that are residuals over their level, and logarithms of levels."""

    name = "petab_weighted"
    label = "normal, with levels from the model,"
    level_name = None
    relative = True

    def squared(self) -> Noise:
        """Return least squares, with the logarithms of levels near their first guess."""
        return GuessedLevels()

    def residual(self, observed: Tensor, predicted: Tensor) -> Tensor:
        """Return the residual; logarithms of levels have none, and what is missing has NaN."""
        return torch.where(observed == 0.0, -predicted, 0.0 * observed)

    def loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return r^2 or 2 log s."""
        del level
        return torch.where(observed == 0.0, predicted.square(), 2.0 * predicted)

    def information(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return one."""
        del level
        return torch.ones_like(predicted)

    def log_density(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return the two parts of log p(y)."""
        del level
        residual = -0.5 * predicted.square() - _LOG_ROOT_TWO_PI
        return torch.where(observed == 0.0, residual, -predicted)

    def draw(self, predicted: Floats, level: Floats, uniform: Floats) -> Floats:
        """Return the predictions: residuals cannot be drawn without measurements."""
        del level, uniform
        return np.asarray(predicted)


class GuessedLevels(NormalErrors):
    """Least squares that find a start: residuals, and log levels near their first guess.

    Both are on the scale of asinh, on which residuals that are large because their level is tiny
    do not outweigh everything else.
    """

    name = "petab_guessed_levels"
    relative = True

    def transformed(self, value: Tensor) -> Tensor:
        """Return the inverse hyperbolic sine."""
        return torch.asinh(value)

    def moved(self, predicted: Floats, error: Floats) -> Floats:
        """Return the value whose transform is larger by the error."""
        moved: Floats = np.sinh(np.arcsinh(predicted) + error)
        return moved
