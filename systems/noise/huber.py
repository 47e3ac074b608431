r"""Huber's loss: quadratic up to a threshold and linear beyond, which bounds outliers' influence.

rho(z) = z for u = sqrt(z) <= c and c (2 u - c) beyond. The density to which it belongs,
exp(-rho / 2) / C, is normal in the middle with exponential tails. Among the densities close to
normal it is the least favorable one: it has the smallest Fisher information.

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

# The threshold c of 95 % efficiency (asymptotic, relative to least squares) if the noise is normal.
BEND = 1.345
# 1 / Phi^-1(3/4): the median absolute residual times this is the standard deviation of normal
# noise.
_MAD = 1.482602218505602
# Lower bound for the share of residuals below the threshold, by whose square the sandwich divides.
_LEAST_INSIDE = 0.1


class Huber(LocationScale):
    """Huber's loss in the residuals of normal or log-normal noise.

    Args:
        noise: The noise model that defines the residuals.
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
        """The settings of the wrapped noise."""
        return self._noise.settings

    @property
    def key(self) -> tuple[Any, ...]:
        """See `Noise`; the class of the wrapped noise counts, which may have been defined anew."""
        return type(self), *self._noise.key

    def squared(self) -> LocationScale:
        """Return the noise with its own loss."""
        return self._noise

    def transformed(self, value: Tensor) -> Tensor:
        """Return values in the scale in which the noise is added."""
        return self._noise.transformed(value)

    def moved(self, predicted: Floats, error: Floats) -> Floats:
        """Return predictions with an error."""
        return self._noise.moved(predicted, error)

    def rho(self, z: Tensor) -> Tensor:
        """Return z, or c (2 sqrt(z) - c) beyond c^2."""
        return torch.where(z > BEND**2, BEND * (2.0 * z.sqrt() - BEND), z)

    def quantile(self, probability: Floats) -> Floats:
        """Return quantiles of the least favorable density."""
        total = math.exp(self.constants.log_normalizer)
        # The probability of both tails: 2 / C times the integral of exp(-c u + c^2 / 2) from c to
        # infinity, which is 2 exp(-c^2 / 2) / (c C).
        tails = 2.0 * math.exp(-0.5 * BEND**2) / BEND / total
        below = np.minimum(probability, 1.0 - probability)
        # By symmetry the smaller of p and 1 - p is inverted, which keeps the digits of both tails.
        # In the tail, exp(-c u + c^2 / 2) / (c C) = p, solved for -u:
        with np.errstate(divide="ignore"):
            tail = (np.log(BEND * total * below) - 0.5 * BEND**2) / BEND
        # In the middle, p exceeds half of the tails by sqrt(2 pi) (Phi(x) - Phi(-c)) / C.
        middle = ndtri(
            ndtr(-BEND) + (below - 0.5 * tails).clip(0.0) * total / math.sqrt(2.0 * math.pi)
        )
        size = np.where(below < 0.5 * tails, -tail, -middle)
        return np.where(probability < 0.5, -size, size)

    @property
    def transforms(self) -> bool:
        """See `LocationScale`."""
        return self._noise.transforms

    def level_term(self, z: Tensor) -> Tensor:
        """Return min(z, c^2) over its mean for normal noise: an outlier adds no more than c^2.

        References:
            P. J. Huber, E. M. Ronchetti, Robust Statistics, sec. 7.8, "Proposal 2".
        """
        # The integral of u^2 phi(u) over abs(u) < c is P(abs(u) < c) - 2 c phi(c).
        tails = 2.0 * float(ndtr(-BEND))
        edge = 2.0 * BEND * math.exp(-0.5 * BEND**2) / math.sqrt(2.0 * math.pi)
        return z.clamp_max(BEND**2) / (1.0 - tails - edge + BEND**2 * tails)

    @property
    def constants(self) -> Constants:
        """The constants in closed form: quadrature would converge slowly at the threshold."""
        root = math.sqrt(2.0 * math.pi)
        middle = root * (1.0 - 2.0 * float(ndtr(-BEND)))
        edge = math.exp(-0.5 * BEND**2)
        total = middle + 2.0 * edge / BEND
        # psi = u w is the score. For the score of the density itself E psi^2 = E psi' (by parts),
        # and psi' is 1 in the middle and 0 in the tails, so that the information is P(|u| < c).
        return Constants(math.log(total), middle / total)

    def level(self, observed: Tensor, predicted: Tensor, share: Tensor) -> Tensor:
        """Return 1.4826 times the median absolute residual, with n - p degrees of freedom."""
        size = self.residual(observed, predicted).abs()
        return _MAD * size.nanmedian(dim=1).values * share

    def unbiased_level(self, level: Tensor, share: Tensor) -> Tensor:
        """Return the level unchanged."""
        del share  # `level` has applied it
        return level

    def information_unit(self, scaled: Tensor, level: Tensor) -> Tensor:
        """Return s^2 E psi^2 / (E psi')^2 over the residuals of each output.

        This is the sandwich estimate of the variance of an M-estimator, which holds whatever the
        noise (Huber, Ronchetti, Robust Statistics, sec. 7.6). E psi' is the share of residuals with
        |u| <= c.
        """
        known = scaled.isfinite()
        count = known.sum(dim=1).clamp_min(1)
        inside = (scaled.abs() <= BEND) & known
        pull = torch.where(known, scaled.clamp(-BEND, BEND), 0.0)
        share = inside.sum(dim=1) / count
        factor = pull.square().sum(dim=1) / count / share.clamp_min(_LEAST_INSIDE).square()
        return level.square() * factor
