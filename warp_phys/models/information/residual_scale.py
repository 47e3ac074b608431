"""Residuals on the scale of the noise, and their derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.models.information.state import Sample
from warp_phys.systems.noise.location_scale import LocationScale
from warp_phys.systems.noise.noise import with_slope


def scaled(
    noise: LocationScale,
    observed: Tensor,
    predicted: Tensor,
    jacobian: Tensor,
    weights: Tensor | None,
    slopes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return residuals on the scale of the noise, and minus their derivatives.

    Args:
        noise: The noise model.
        observed: (..., O), NaN where missing.
        predicted: (..., O).
        jacobian: (..., O, D), derivatives of the predictions.
        weights: (..., O), one over known variances, or None.
        slopes: (..., 1, D), by which the derivatives are multiplied, or None.

    Returns:
        Residuals (..., O), NaN where something is missing or the model has no finite prediction,
        and minus their derivatives (..., O, D), zero where it has none.
    """
    residual, stretch = _residual(noise, observed, predicted, weights)
    # Small factors are multiplied first: the derivatives are the largest array.
    factor = slopes
    if stretch is not None:
        factor = stretch.unsqueeze(-1) if slopes is None else slopes * stretch.unsqueeze(-1)
    if factor is not None:
        jacobian = jacobian * factor
    sound = predicted.isfinite() & jacobian.isfinite().all(dim=-1)
    residual = torch.where(sound, residual, torch.nan)
    return residual, torch.where(sound.unsqueeze(-1), jacobian, 0.0)


def sample_of(noise: LocationScale, observed: Tensor, residual: Tensor, jacobian: Tensor) -> Sample:
    """Return a sample of N records of what `scaled` returned for it."""
    size = torch.where(residual.isfinite(), noise.magnitude(observed), 0.0)
    return Sample(residual, jacobian, size)


def _residual(
    noise: LocationScale, observed: Tensor, predicted: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return residuals, and minus their slope by the predictions, None where that is 1."""
    if not noise.transforms:
        residual, stretch = observed - predicted, None
    else:
        residual, slope = with_slope(lambda f: noise.residual(observed, f), predicted)
        stretch = -slope
    if weights is None:
        return residual, stretch
    root = weights.sqrt()
    return residual * root, root if stretch is None else stretch * root
