r"""Noise whose errors, on some scale, are a level times draws from one distribution.

With z = (g(y) - g(f))^2 / s^2 and a loss rho(z),

    p(y | f, s) = |g'(y)| exp(-rho(z) / 2) / (C s),   C = integral of exp(-rho(u^2) / 2) du.

The weight of a residual is w = drho/dz; for the squared loss w = 1. The maximum likelihood level
satisfies mean(z w(z)) = 1, and the Fisher information about g(f) is E[z w(z)^2] / s^2.

References:
    P. J. Huber, E. M. Ronchetti, Robust Statistics, 2nd ed., Wiley, 2009, ch. 3, 7.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from scipy.special import ndtri
from torch import Tensor

from warp_phys.systems.noise.noise import Floats, Noise, with_slope

# Maximum number of fixed-point iterations for the level, and the relative change of the variance
# below which the iteration has converged.
_ROUNDS, _SETTLED = 500, 1e-13


class LocationScale(Noise):
    r"""Noise in which (g(y) - g(f)) / s has one distribution, symmetric about zero.

    A subclass defines `rho` and `quantile`, and also `transformed` (g) and `moved` if g is not the
    identity. Weights, normalized log density, levels and standard errors follow from these.

    Example:
        >>> import torch
        >>> from scipy import stats
        >>> class StudentT(LocationScale):
        ...     name, level_name = "example_t", "scale"
        ...
        ...     def __init__(self, freedom):
        ...         self.freedom = freedom
        ...
        ...     def rho(self, z):
        ...         return (self.freedom + 1.0) * torch.log1p(z / self.freedom)
        ...
        ...     def quantile(self, probability):
        ...         return stats.t.ppf(probability, self.freedom)
        >>> zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
        >>> round(float(StudentT(4.0).log_density(zero, zero, one).exp()), 12)
        0.375
    """

    def moved(self, predicted: Floats, error: Floats) -> Floats:
        """Return the y for which g(y) is g(f) plus the error."""
        return predicted + error

    @property
    def transforms(self) -> bool:
        """Whether residuals are differences of transformed values, not of the values."""
        return type(self).transformed is not Noise.transformed

    def weight(self, z: Tensor) -> Tensor:
        """Return the weight drho/dz of squared residuals z over the squared level."""
        return with_slope(self.rho, z)[1]

    def level_term(self, z: Tensor) -> Tensor:
        """Return z w(z), whose mean is 1 at the maximum likelihood level.

        Args:
            z: Squared residuals over the squared level.
        """
        return z * self.weight(z)

    @abstractmethod
    def rho(self, z: Tensor) -> Tensor:
        """Return the loss of z, the squared residual over the squared level; it is 0 at z = 0."""

    @abstractmethod
    def quantile(self, probability: Floats) -> Floats:
        """Return quantiles of the error at level 1."""

    def squared(self) -> Noise:
        """Return normal noise in the same residuals."""
        return SquaredLoss(self)

    def summed(self) -> Noise:
        """Return the squared loss: `information_unit` rescales its sums of squared slopes."""
        return self.squared()

    def loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return rho((g(y) - g(f))^2 / s^2)."""
        return self.rho((self.residual(observed, predicted) / level).square())

    def whole_loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return rho + 2 log s; own parameters on which C depends add 2 log C."""
        return self.loss(observed, predicted, level) + 2.0 * level.log()

    def own_start(self, observed: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """Return the maximum likelihood level, for usual values of unknown own parameters."""
        usual = {one.name: math.sqrt(math.prod(one.range or (1.0, 1.0))) for one in self.unknown}
        one = torch.ones(len(observed), 1, dtype=observed.dtype)
        table = observed.unsqueeze(2), predicted.unsqueeze(2)
        return {"level": self.at(usual).likely_level(*table, one).squeeze(1)}

    def information(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return g'(f)^2 E[z w(z)^2] / s^2."""
        _, slope = with_slope(self.transformed, predicted)
        return slope.square() * self.constants.information / level.square()

    def log_density(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return log |g'(y)| - rho / 2 - log s - log C."""
        _, slope = with_slope(self.transformed, observed)
        rho = self.loss(observed, predicted, level)
        return slope.abs().log() - 0.5 * rho - level.log() - self.constants.log_normalizer

    def draw(self, predicted: Floats, level: Floats, uniform: Floats) -> Floats:
        """Return g^-1(g(f) + s q(uniform)) with the quantile function q."""
        return self.moved(predicted, level * self.quantile(uniform))

    def terms(self, observed: Tensor, predicted: Tensor, precision: Tensor) -> tuple[Tensor, ...]:
        """See `Noise.terms`; the information w / s^2 is that of reweighted least squares."""
        residual, slope = with_slope(lambda f: self.residual(observed, f), predicted)
        loss, weight = with_slope(self.rho, residual.square() * precision)
        # By the chain rule -1/2 dloss/df = -w r (dr/df) / s^2. With the weight w / s^2 in place of
        # the second derivative, the information is never negative, unlike that of a non-convex
        # loss.
        pull = precision * weight
        return residual, -slope, loss, pull * residual, pull

    # Levels that are not known

    def level(self, observed: Tensor, predicted: Tensor, share: Tensor) -> Tensor:
        """Return the maximum likelihood level; `share` enters only the reported level."""
        return self.likely_level(observed, predicted, share)

    def likely_level(self, observed: Tensor, predicted: Tensor, share: Tensor) -> Tensor:
        """Return the maximum likelihood level, by fixed-point iteration.

        The condition mean(z w(z)) = 1 with z = r^2 / s^2 gives s^2 <- mean(w(r^2 / s^2) r^2) for
        each output, (N, O), starting from the mean square.
        """
        del share
        square = self.residual(observed, predicted).square()
        variance = square.nanmean(dim=1)
        # A perfect fit has level zero, and z would be 0 / 0.
        moving = variance > 0.0
        for _ in range(_ROUNDS):
            z = square / torch.where(moving, variance, 1.0).unsqueeze(1)
            _, weight = with_slope(self.rho, z)
            following = torch.where(moving, (weight * square).nanmean(dim=1), variance)
            # Every row stops at its own convergence, so that a result does not depend on its batch.
            moving &= (following / variance - 1.0).abs() > _SETTLED
            variance = following
            if not bool(moving.any()):
                break
        return variance.sqrt()

    def information_unit(self, scaled: Tensor, level: Tensor) -> Tensor:
        """Return s^2 over the expected information at level 1, the same for all residuals."""
        del scaled
        return level.square() / self.constants.information

    @property
    def constants(self) -> Constants:
        """The normalizer C and the Fisher information at level 1, integrated only once."""
        key = self.key
        if key not in _CONSTANTS:
            _CONSTANTS[key] = _integrated(self)
        return _CONSTANTS[key]


class NormalErrors(LocationScale):
    """Normal errors: the loss is z, and least squares are maximum likelihood."""

    chi_square = True

    @property
    def is_squared(self) -> bool:
        """See `Noise`."""
        return True

    def squared(self) -> Noise:
        """Return itself."""
        return self

    def rho(self, z: Tensor) -> Tensor:
        """Return z."""
        return z

    def quantile(self, probability: Floats) -> Floats:
        """Return quantiles of the standard normal distribution."""
        found: Floats = ndtri(probability)
        return found

    def own_information(
        self, observed: Tensor, predicted: Tensor, level: Tensor
    ) -> dict[tuple[str, str], Tensor]:
        """Return 2 / s^2 about the level; that about f is independent of it."""
        del observed, predicted
        return {("level", "level"): 2.0 / level.square()}

    def normal_score(self, limit: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return (g(y) - g(f)) / s."""
        return self.residual(limit, predicted) / level

    @property
    def constants(self) -> Constants:
        """See `LocationScale`."""
        return Constants(0.5 * math.log(2.0 * math.pi), 1.0)


class SquaredLoss(NormalErrors):
    """The squared loss in the residuals of another noise model, whatever its own loss."""

    def __init__(self, noise: Noise) -> None:
        self._noise = noise

    @property
    def settings(self) -> dict[str, Any]:
        """See `Noise`."""
        return {"of": self._noise.name, **self._noise.settings}

    @property
    def key(self) -> tuple[Any, ...]:
        """See `Noise`; the class of the wrapped noise counts, which may have been defined anew."""
        return type(self), *self._noise.key

    def transformed(self, value: Tensor) -> Tensor:
        """See `Noise`."""
        return self._noise.transformed(value)

    def residual(self, observed: Tensor, predicted: Tensor) -> Tensor:
        """See `Noise`."""
        return self._noise.residual(observed, predicted)

    def magnitude(self, observed: Tensor) -> Tensor:
        """See `Noise`."""
        return self._noise.magnitude(observed)


@dataclass(frozen=True)
class Constants:
    """Integrals over the distribution of errors at level 1.

    Attributes:
        log_normalizer: log C, C = integral of exp(-rho(u^2) / 2) du.
        information: E[z w(z)^2], the Fisher information about the location.
    """

    log_normalizer: float
    information: float


_CONSTANTS: dict[tuple[Any, ...], Constants] = {}
# The quadrature rule below uses _NODES nodes for x from -_REACH to _REACH, so that u reaches from
# about 1e-31 to 1e31: enough for fifteen digits of smooth densities, even with Cauchy's tails.
_NODES, _REACH = 2001, 4.5


def _integrated(noise: LocationScale) -> Constants:
    """Integrate over u from 0 to infinity by a double exponential rule.

    The substitution u = exp(pi/2 sinh x), du = pi/2 cosh(x) u dx, makes integrands with algebraic
    or exponential tails decay double exponentially, so that the trapezoidal rule converges to
    rounding error.

    References:
        H. Takahasi, M. Mori, Publ. RIMS 9 (1974) 721-741, doi:10.2977/prims/1195192451.
    """
    x = torch.linspace(-_REACH, _REACH, _NODES, dtype=torch.float64)
    u = (0.5 * math.pi * x.sinh()).exp()
    step = 2.0 * _REACH / (_NODES - 1)
    weights = 0.5 * math.pi * x.cosh() * u * step
    z = u.square()
    rho, weight = with_slope(noise.rho, z)
    # rho may overflow at the largest nodes, where the density is zero.
    density = torch.where(rho < torch.inf, weights * (-0.5 * rho).exp(), 0.0)
    total = float(density.sum())
    information = (z * weight.square() * density).nan_to_num(0.0).sum()
    # The density is symmetric: the integral over the whole line is twice that over the half line.
    return Constants(math.log(2.0 * total), float(information) / total)
