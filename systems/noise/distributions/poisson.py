"""Poisson noise: counts of independent events."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from warp_phys.systems.noise.counts import CountNoise, log_ratio
from warp_phys.systems.noise.noise import Floats


class Poisson(CountNoise):
    r"""Counts of independent events; the prediction f is their expected number.

    .. math::
        p(y) = \frac{f^y e^{-f}}{y!}, \qquad \operatorname{Var} y = f

    The loss of a fit is the deviance 2 (y log(y / f) - y + f). There is no level.

    References:
        P. McCullagh, J. A. Nelder, Generalized Linear Models, 2nd ed., Chapman and Hall, 1989,
        sec. 6.2.

    Example:
        >>> from warp_phys.data_gen import simulate
        >>> data = simulate("sir", n=1, times=range(8), distribution="poisson", seed=0)
        >>> bool((data.observed == data.observed.round()).all())
        True
    """

    name = "poisson"
    label = "Poisson"

    def loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return the deviance 2 (y log(y / f) - y + f)."""
        del level
        return 2.0 * (predicted - observed + log_ratio(observed, predicted))

    def variance(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return f."""
        del level
        return predicted

    def excess(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return 1 / f."""
        del level
        return 1.0 / predicted

    def log_density(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return y log f - f - log y!."""
        del level
        return torch.xlogy(observed, predicted) - predicted - torch.lgamma(observed + 1.0)

    def quantile_of(self, predicted: Floats, uniform: Floats) -> Floats:
        """Return quantiles."""
        found: Floats = np.asarray(stats.poisson.ppf(uniform, predicted), dtype=np.float64)
        return found
