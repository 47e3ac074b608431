r"""Huber's loss: squares up to a bend, linear beyond, so that outliers pull with bounded force.

rho(z) = z for u = sqrt(z) <= c and c (2 u - c) beyond. The density it belongs to,
exp(-rho / 2) / C, normal in the middle with exponential tails, is the one among those close to
normal about which a sample tells the least.

References:
    P. J. Huber, E. M. Ronchetti, Robust Statistics, 2nd ed., Wiley, 2009, sec. 4.5, 7.6-7.8.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

from warp_phys.systems.noise.location_scale import Constants, LocationScale
from warp_phys.systems.noise.noise import Floats

# 95 % efficiency where the noise is normal after all.
BEND = 1.345
# A median absolute residual times this is the standard deviation, where the noise is normal.
_MAD = 1.482602218505602
# Least share of residuals inside the bend that the sandwich divides by.
_LEAST_INSIDE = 0.1


class Huber(LocationScale):
    """Huber's loss in the residuals of normal or log-normal noise.

    Args:
        noise: Whose residuals they are.
    """

    chi_square = True
    loss_name = "huber"
    likelihood_note = (
        "of Huber's least favorable density, normal in the middle with exponential tails, at its "
        "own level of maximum likelihood"
    )

    def __init__(self, noise: LocationScale) -> None:
        self._noise = noise
        self.name, self.label, self.support = noise.name, noise.label, noise.support
        self.level_note, self.relative = noise.level_note, noise.relative

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the noise."""
        return self._noise.settings

    def squared(self) -> LocationScale:
        """Return the noise with its own loss."""
        return self._noise

    def transformed(self, value: Tensor) -> Tensor:
        """Return what the noise is added to."""
        return self._noise.transformed(value)

    def moved(self, predicted: Floats, error: Floats) -> Floats:
        """Return predictions with an error."""
        return self._noise.moved(predicted, error)

    def rho(self, z: Tensor) -> Tensor:
        """Return z, or c (2 sqrt(z) - c) beyond c^2."""
        return torch.where(z > BEND**2, BEND * (2.0 * z.sqrt() - BEND), z)

    def quantile(self, probability: Floats) -> Floats:
        """Return quantiles: of a normal distribution in the middle, of exponential tails."""
        total = math.exp(self.constants.log_normalizer)
        # Of both tails together: integral of exp(-c u + c^2 / 2) from c on, twice.
        tails = 2.0 * math.exp(-0.5 * BEND**2) / BEND / total
        below = np.minimum(probability, 1.0 - probability)
        with np.errstate(divide="ignore"):
            tail = (np.log(BEND * total * below) - 0.5 * BEND**2) / BEND
        middle = ndtri(
            ndtr(-BEND) + (below - 0.5 * tails).clip(0.0) * total / math.sqrt(2.0 * math.pi)
        )
        size = np.where(below < 0.5 * tails, -tail, -middle)
        return np.where(probability < 0.5, -size, size)

    @property
    def constants(self) -> Constants:
        """In closed form: the bend would cost a numerical rule its digits."""
        root = math.sqrt(2.0 * math.pi)
        middle = root * (1.0 - 2.0 * float(ndtr(-BEND)))
        edge = math.exp(-0.5 * BEND**2)
        total = middle + 2.0 * edge / BEND
        # E psi^2 = E psi' of a density's own score, and psi' is 1 in the middle, else 0.
        return Constants(math.log(total), middle / total)

    def level(self, observed: Tensor, predicted: Tensor, share: Tensor) -> Tensor:
        """Return 1.4826 times the median absolute residual, with n - p degrees of freedom."""
        size = self.residual(observed, predicted).abs()
        return _MAD * size.nanmedian(dim=1).values * share

    def unbiased_level(self, level: Tensor, share: Tensor) -> Tensor:
        """Return the level as it is."""
        del share  # in it already
        return level

    def information_unit(self, scaled: Tensor, level: Tensor) -> Tensor:
        """Return s^2 E psi^2 / (E psi')^2 over the residuals of each output: the sandwich."""
        known = scaled.isfinite()
        count = known.sum(dim=1).clamp_min(1)
        inside = (scaled.abs() <= BEND) & known
        pull = torch.where(known, scaled.clamp(-BEND, BEND), 0.0)
        share = inside.sum(dim=1) / count
        factor = pull.square().sum(dim=1) / count / share.clamp_min(_LEAST_INSIDE).square()
        return level.square() * factor
