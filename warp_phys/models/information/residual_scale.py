"""Residuals and the scale of their derivatives."""

from __future__ import annotations

from torch import Tensor

from warp_phys.systems.noise.location_scale import LocationScale
from warp_phys.systems.noise.noise import Noise, with_slope


def scaled_residual(
    noise: Noise, observed: Tensor, predicted: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return residuals on the scale of the noise, and minus their slope by the predictions.

    Args:
        noise: The noise model.
        observed: Values, NaN where missing.
        predicted: Their predictions, of the same shape.
        weights: One over their known variances, or None.

    Returns:
        Both of the shape of the values; the slope is None where it is 1.
    """
    if isinstance(noise, LocationScale) and not noise.transforms:
        residual, stretch = observed - predicted, None
    else:
        residual, slope = with_slope(lambda f: noise.residual(observed, f), predicted)
        stretch = -slope
    if weights is None:
        return residual, stretch
    root = weights.sqrt()
    return residual * root, root if stretch is None else stretch * root
