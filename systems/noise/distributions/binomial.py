"""Binomial noise: how many of a known number of trials succeed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from warp_phys.systems.errors import UsageError
from warp_phys.systems.noise.counts import CountNoise, log_ratio
from warp_phys.systems.noise.noise import Floats, Values


class Binomial(CountNoise):
    r"""Successes among n trials; the prediction f is their expected number, 0 <= f <= n.

    .. math::
        p(y) = \binom{n}{y} q^y (1 - q)^{n - y}, \qquad q = f / n, \qquad
        \operatorname{Var} y = n q (1 - q)

    The loss of a fit is the deviance 2 (y log(y / f) + (n - y) log((n - y) / (n - f))). A model
    that predicts the share q observes n q. There is no level.

    Args:
        trials: n.

    References:
        P. McCullagh, J. A. Nelder, Generalized Linear Models, 2nd ed., Chapman and Hall, 1989,
        sec. 4.4.

    Example:
        >>> import torch
        >>> one = torch.tensor([1.0], dtype=torch.float64)
        >>> float(Binomial(trials=2).log_density(one, one, one).exp().round(decimals=12))
        0.5
    """

    name = "binomial"

    def __init__(self, trials: int) -> None:
        if isinstance(trials, bool) or not trials >= 1 or trials != int(trials):
            raise UsageError(
                "expected trials as a whole number, the number of trials behind every count: "
                f"Binomial(trials=20); got {trials!r}"
            )
        self.trials = int(trials)

    def impossible(self, observed: Values) -> Any:
        """Return what is negative, fractional, or more than the number of trials."""
        return super().impossible(observed) | (observed > self.trials)

    def undefined(self, predicted: Values) -> Any:
        """Return expected numbers that are negative or more than the number of trials."""
        return super().undefined(predicted) | super().undefined(self.trials - predicted)

    @property
    def wanted(self) -> str:  # type: ignore[override]
        """See `Noise`."""
        return f"between 0 and {self.trials}"

    def loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return the deviance."""
        del level
        failed, expected = self.trials - observed, self.trials - predicted
        return 2.0 * (log_ratio(observed, predicted) + log_ratio(failed, expected))

    def variance(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return f (1 - f / n), not below that of 1e-9 successes or failures."""
        del level
        return predicted * (1.0 - predicted / self.trials).clamp_min(1e-9)

    def excess(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return 1 / V(f) - 6 / n."""
        return 1.0 / self.variance(predicted, level) - 6.0 / self.trials

    def log_density(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return the logarithm of the probability."""
        del level
        count = torch.full_like(observed, float(self.trials))
        choices = torch.lgamma(count + 1.0) - torch.lgamma(observed + 1.0)
        choices = choices - torch.lgamma(count - observed + 1.0)
        share = predicted / count
        return choices + torch.xlogy(observed, share) + torch.xlogy(count - observed, 1.0 - share)

    def quantile_of(self, predicted: Floats, uniform: Floats) -> Floats:
        """Return quantiles."""
        share = np.minimum(predicted / self.trials, 1.0)
        found: Floats = np.asarray(stats.binom.ppf(uniform, self.trials, share), dtype=np.float64)
        return found
