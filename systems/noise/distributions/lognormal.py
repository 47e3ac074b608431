"""Log-normal noise: errors are proportional to the value."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from warp_phys.systems.noise.location_scale import NormalErrors
from warp_phys.systems.noise.noise import Floats


class LogNormal(NormalErrors):
    r"""Log-normal noise, whose level is the standard deviation of the logarithm.

    .. math::
        y = f \exp(s e), \qquad e \sim N(0, 1), \qquad
        -2 \log p = (\log y - \log f)^2 / s^2 + \log(2 \pi s^2 y^2)
    """

    name = "lognormal"
    label = "log-normal"
    support = "positive"
    level_note = "of logarithms"
    relative = True

    def transformed(self, value: Tensor) -> Tensor:
        """Return the logarithm."""
        return value.log()

    def moved(self, predicted: Floats, error: Floats) -> Floats:
        """Return f exp(error)."""
        return predicted * np.exp(error)
