"""Additive and proportional noise: errors of a constant size and of a share of the value."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.quantities import Parameter
from warp_phys.systems.noise.location_scale import SquaredLoss
from warp_phys.systems.noise.noise import Floats, Noise


class AdditiveProportional(Noise):
    r"""Normal noise whose variance has a constant part, and one proportional to the value squared.

    .. math::
        y = f + \sqrt{s^2 + b^2 f^2}\, e, \qquad e \sim N(0, 1)

    The level is the standard deviation s of the additive part; b is that of the relative error of
    large values. This is the "combined" residual error of pharmacokinetics.

    Args:
        proportional: b; None for a fit that estimates it, for each output.

    References:
        M. Davidian, D. M. Giltinan, Nonlinear Models for Repeated Measurement Data, Chapman and
        Hall, 1995, sec. 2.2.

    Example:
        >>> import torch
        >>> f = torch.tensor([4.0], dtype=torch.float64)
        >>> noise = AdditiveProportional(proportional=1.0)
        >>> float(noise.variance(f, 0.75 * f))
        25.0
    """

    name = "additive_proportional"
    label = "additive and proportional"
    level_name = "additive sd"
    level_is_joint = True
    own = (Parameter("proportional", "1", support="positive", range=(0.01, 1.0)),)

    def __init__(self, proportional: float | None = None) -> None:
        if proportional is not None and not proportional >= 0.0:
            raise UsageError(f"expected proportional of 0 or more, got {proportional!r}")
        self.proportional = proportional

    def variance(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return s^2 + b^2 f^2."""
        share = self.own_value("proportional", predicted)
        return level.square() + (share * predicted).square()

    def squared(self) -> Noise:
        """Return least squares."""
        return SquaredLoss(self)

    def loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return (y - f)^2 / v + log v."""
        variance = self.variance(predicted, level)
        return (observed - predicted).square() / variance + variance.log()

    def standardized(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return (y - f) / sqrt(v)."""
        return (observed - predicted) / self.variance(predicted, level).sqrt()

    def information(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return 1 / v + (dv/df)^2 / (2 v^2)."""
        variance = self.variance(predicted, level)
        share = self.own_value("proportional", predicted)
        return 1.0 / variance + 2.0 * (share.square() * predicted / variance).square()

    def own_start(self, observed: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """Return levels at which both parts contribute half of the variance of the residuals."""
        square = (observed - predicted).square().nanmean(dim=1)
        size = torch.where(observed.isfinite(), predicted, torch.nan).square().nanmean(dim=1)
        tiny = torch.finfo(torch.float64).tiny
        share = (0.5 * square / size.clamp_min(tiny)).sqrt()
        return {"level": (0.5 * square).sqrt(), "proportional": share.clamp(1e-4, 1.0)}

    def own_information(
        self, observed: Tensor, predicted: Tensor, level: Tensor
    ) -> dict[tuple[str, str], Tensor]:
        """Return (dv/da) (dv/db) / (2 v^2) for pairs a, b, as for any normal noise."""
        del observed
        variance = self.variance(predicted, level)
        share = self.own_value("proportional", predicted)
        slopes = {
            "f": 2.0 * share.square() * predicted,
            "level": 2.0 * level,
            "proportional": 2.0 * share * predicted.square(),
        }
        names = list(slopes)
        return {
            (second, first): 0.5 * slopes[first] * slopes[second] / variance.square()
            for place, first in enumerate(names)
            for second in names[place:]
            if second != "f"
        }

    def log_density(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return -(loss + log(2 pi)) / 2."""
        return -0.5 * (self.loss(observed, predicted, level) + math.log(2.0 * math.pi))

    def normal_score(self, limit: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return (y - f) / sqrt(v)."""
        return (limit - predicted) / self.variance(predicted, level).sqrt()

    def draw(self, predicted: Floats, level: Floats, uniform: Floats) -> Floats:
        """Return f + sqrt(v) times quantiles of the normal distribution."""
        if self.proportional is None:
            raise UsageError(
                "additive_proportional noise is drawn with a known share: "
                "distribution=AdditiveProportional(proportional=0.1), and noise={...} is the level"
            )
        size = np.hypot(level, self.proportional * predicted)
        found: Floats = predicted + size * ndtri(uniform)
        return found
