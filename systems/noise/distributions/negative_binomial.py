"""Negative binomial noise: counts that scatter more than independent events."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.quantities import Parameter
from warp_phys.systems.noise.counts import CountNoise, log_ratio
from warp_phys.systems.noise.noise import Floats
from warp_phys.systems.noise.special import log_rising

# Rough dispersions with which fits begin.
_LEAST, _MOST = 1e-3, 10.0


class NegativeBinomial(CountNoise):
    r"""Counts whose expected number f itself scatters, by a relative variance alpha.

    .. math::
        p(y) = \frac{\Gamma(y + 1/\alpha)}{y!\, \Gamma(1/\alpha)}
            \frac{(\alpha f)^y}{(1 + \alpha f)^{y + 1/\alpha}}, \qquad
        \operatorname{Var} y = f + \alpha f^2

    This is a Poisson distribution whose rate has a gamma distribution of mean f and relative
    variance alpha; for alpha = 0 it is the Poisson distribution. The size 1 / alpha is also known
    as phi or k. Estimates of f and alpha are independent for large records.

    Args:
        dispersion: alpha; None for a fit that estimates it, for each output.

    References:
        J. F. Lawless, Canad. J. Statist. 15 (1987) 209-225, doi:10.2307/3314912.

    Example:
        >>> import torch
        >>> f = torch.tensor([2.0], dtype=torch.float64)
        >>> float(NegativeBinomial(0.5).log_density(0.0 * f, f, f).exp().round(decimals=12))
        0.25
    """

    name = "negative_binomial"
    own = (Parameter("dispersion", "1", support="positive", range=(0.01, 1.0)),)

    def __init__(self, dispersion: float | None = None) -> None:
        if dispersion is not None and not dispersion > 0.0:
            raise UsageError(
                f'expected a positive dispersion, got {dispersion!r}; distribution="poisson" has '
                "none"
            )
        self.dispersion = dispersion

    def transformed(self, value: Tensor) -> Tensor:
        """Return 2 asinh(sqrt(alpha (y + 3/8))) / sqrt(alpha), or 2 sqrt(y + 3/8)."""
        root = super().transformed(value)
        if self.dispersion is None:
            return root
        alpha = self.own_value("dispersion", value).sqrt()
        return 2.0 * torch.asinh(0.5 * alpha * root) / alpha

    def loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return the deviance 2 (y log(y / f) - (y + 1/alpha) log((1 + alpha y)/(1 + alpha f)))."""
        del level
        alpha = self.own_value("dispersion", predicted)
        # The logarithm of (1 + alpha y) / (1 + alpha f) is accurate for small alpha, too.
        odds = torch.log1p(alpha * (observed - predicted) / (1.0 + alpha * predicted))
        return 2.0 * (log_ratio(observed, predicted) - (observed + 1.0 / alpha) * odds)

    def whole_loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return the deviance and -2 log p of the best prediction f = y, without 2 log y!."""
        alpha = self.own_value("dispersion", predicted)
        # With f = y: log p = log rising + y log y - (y + 1/alpha) log(1 + alpha y) - log y!.
        best = log_rising(alpha, observed) + log_ratio(observed, torch.ones_like(observed))
        best = best - (observed + 1.0 / alpha) * torch.log1p(alpha * observed)
        return self.loss(observed, predicted, level) - 2.0 * best

    def variance(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return f + alpha f^2."""
        del level
        return predicted * (1.0 + self.own_value("dispersion", predicted) * predicted)

    def excess(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return 6 alpha + 1 / V(f)."""
        return 6.0 * self.own_value("dispersion", predicted) + 1.0 / self.variance(predicted, level)

    def own_start(self, observed: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """Return the dispersion by moments: E[(y - f)^2 - y] = alpha f^2."""
        excess = (observed - predicted).square() - observed
        alpha = excess.nansum(dim=1) / torch.where(
            observed.isfinite(), predicted.square(), 0.0
        ).nansum(dim=1)
        return {"dispersion": alpha.nan_to_num(_LEAST).clamp(_LEAST, _MOST)}

    def own_information(
        self, observed: Tensor, predicted: Tensor, level: Tensor
    ) -> dict[tuple[str, str], Tensor]:
        r"""Return the information about alpha; that about f is independent of it.

        It has no closed form. :math:`\frac12 (f / (1 + \alpha f))^2` is right for small alpha, and
        the factor is between those of gamma distributions: within 5 % for large f.
        """
        del observed, level
        alpha = self.own_value("dispersion", predicted)
        factor = (3.0 + 2.0 * alpha) / (3.0 + alpha)
        found = 0.5 * (predicted / (1.0 + alpha * predicted)).square() * factor
        return {("dispersion", "dispersion"): found}

    def log_density(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return the logarithm of the probability."""
        whole = self.whole_loss(observed, predicted, level)
        return -0.5 * whole - torch.lgamma(observed + 1.0)

    def quantile_of(self, predicted: Floats, uniform: Floats) -> Floats:
        """Return quantiles."""
        if self.dispersion is None:
            raise UsageError(
                "negative_binomial noise draws counts with a known dispersion: "
                "distribution=NegativeBinomial(dispersion=0.1)"
            )
        size = 1.0 / self.dispersion
        share = 1.0 / (1.0 + self.dispersion * predicted)
        found: Floats = np.asarray(stats.nbinom.ppf(uniform, size, share), dtype=np.float64)
        return found
