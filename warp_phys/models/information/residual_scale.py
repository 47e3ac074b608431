"""Residuals and the scale of their derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.systems.noise.noise import Noise, with_slope


def scaled_residual(
    noise: Noise, observed: Tensor, predicted: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return residuals on the scale of the noise, and minus their slope by the predictions.

    Args:
        noise: The noise model.
        observed: Values, NaN where missing.
        predicted: Their predictions, of the same shape.
        weights: One over their known variances, or None.
    """
    if noise.transforms:
        residual, slope = with_slope(lambda f: noise.residual(observed, f), predicted)
        stretch = -slope
    else:
        residual, stretch = observed - predicted, torch.ones_like(predicted)
    if weights is None:
        return residual, stretch
    root = weights.sqrt()
    return residual * root, stretch * root
