"""The interface of noise models: residuals, loss, information, log density, draws."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.quantities import Parameter
from warp_phys.systems.model.supports import Support, bounds, describe
from warp_phys.systems.noise.special import log_normal_cdf

Floats = NDArray[np.float64]
Values = TypeVar("Values", Floats, Tensor)

DEFINED: dict[str, type[Noise]] = {}
"""The noise models defined so far, by name: the package's that were imported, and the user's."""


class Noise(ABC):
    r"""The distribution of an observed value y about the value f that a model predicts.

    .. math::
        y \sim p(y \mid f, s)

    with a level s if the model has one. `simulate` draws from it, `fit` maximizes its likelihood,
    `forecast` widens its bands by it, and `summary` prints it. A user's model is a subclass, passed
    as `distribution=MyNoise()`. If the error of the value, or of a function of the value, is a
    level times a random number, derive from `LocationScale`, which only needs a loss and quantiles;
    for counts and the like, derive from this class.

    `loss` and `information` are traced and compiled: write them elementwise with torch functions,
    without branches that depend on values (use `torch.where`).

    Attributes:
        name: Name in `distribution=` and in files; for the package's own, also that of the file.
        label: Name in a sentence.
        support: Which values can be observed: "real", "positive" or an interval.
        level_name: Name of the level in `summary`; None for noise without a level.
        level_note: What the level refers to, if not to the observed values themselves.
        relative: Whether residuals have no unit, like those of logarithms.
        chi_square: Whether the sum of squared residuals over known squared levels is chi-square.
        loss_name: The argument `loss` of `fit` that selects this loss.
        likelihood_note: What the log likelihood refers to, if not simply to this noise.
        level_is_joint: Whether an unknown level can only be estimated jointly with all unknowns.
        own: Its own parameters beside the level, such as a dispersion: each is an attribute of the
            object, a number or, where a fit shall estimate it, None.
    """

    name: str = ""
    label: str = ""
    support: Support = "real"
    level_name: str | None = "sd"
    level_note: str = ""
    relative: bool = False
    chi_square: bool = False
    loss_name: str = "linear"
    likelihood_note: str = ""
    level_is_joint: bool = False
    own: ClassVar[tuple[Parameter, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" in vars(cls):
            DEFINED[cls.name] = cls
            if "label" not in vars(cls):
                cls.label = cls.name.replace("_", " ")

    @property
    def settings(self) -> dict[str, Any]:
        """Its own parameters, which JSON can store; `type(noise)(**settings)` makes it again."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    @property
    def key(self) -> tuple[Any, ...]:
        """A key that two objects share if and only if they are the same noise."""
        try:
            return type(self), self.name, json.dumps(self.settings, sort_keys=True)
        except TypeError as error:
            raise UsageError(
                f"expected parameters of {type(self).__name__} that JSON can hold: {error}"
            ) from None

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}({given})"

    def of(self, output: int) -> Noise:
        """Return the noise of one output; that of all outputs is the same."""
        del output
        return self

    # Parameters of its own

    @property
    def unknown(self) -> tuple[Parameter, ...]:
        """Its own parameters that are to be estimated."""
        return tuple(one for one in self.own if getattr(self, one.name) is None)

    def at(self, values: Mapping[str, Any]) -> Self:
        """Return the noise with numbers or tensors for some of its own parameters."""
        found = copy.copy(self)
        vars(found).update(values)
        return found

    def own_value(self, name: str, like: Tensor) -> Tensor:
        """Return the value of one of its own parameters, as a tensor of the shape of another."""
        found: Tensor = torch.zeros_like(like) + getattr(self, name)
        return found

    def own_start(self, observed: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """Return rough values (N,) of unknown own parameters, and of the level as "level".

        Args:
            observed: (N, M), NaN where a value is missing.
            predicted: (N, M), by least squares.
        """
        del observed, predicted
        return {}

    def own_information(
        self, observed: Tensor, predicted: Tensor, level: Tensor
    ) -> dict[tuple[str, str], Tensor]:
        """Return expected information about pairs of its own parameters, "level" and "f".

        It is that of the steps of a fit; pairs that are left out count as zero. Without any, the
        products of the scores take its place, which are right on average.
        """
        del observed, predicted, level
        return {}

    # What may be observed

    def impossible(self, observed: Values) -> Any:
        """Return which observed values are impossible; missing ones (NaN) are not."""
        return _outside(observed, self.support)

    def undefined(self, predicted: Values) -> Any:
        """Return for which predicted values the noise is undefined; missing ones do not count."""
        return _outside(predicted, self.support)

    @property
    def wanted(self) -> str:
        """What may be observed, as an adjective: "positive", or "real" if there is no limit."""
        return describe(self.support)

    # Levels

    @property
    def level_words(self) -> str:
        """What the level is, in full: "standard deviation" or, of other noise, its name."""
        return "standard deviation" if self.level_name == "sd" else self.level_name or "level"

    def level_unit(self, output_unit: str) -> str:
        """Return the unit of the level."""
        return "1" if self.relative else output_unit

    def relative_level(self, share: float, spread: Floats) -> Floats:
        """Return the level that a plain number means in `simulate(noise=share)`.

        Args:
            share: The number.
            spread: Standard deviation of each output along its own noiseless trajectory.
        """
        if self.relative:
            return np.full_like(spread, share)
        return share * spread

    def magnitude(self, observed: Tensor) -> Tensor:
        """Return the reference for the size of a residual: the value, or 1 if relative."""
        return torch.ones_like(observed) if self.relative else observed

    def level(self, observed: Tensor, predicted: Tensor, share: Tensor) -> Tensor:
        """Return the level at which a fit evaluates a loss that is not quadratic.

        Args:
            observed: (N, M, O), NaN where a value is missing.
            predicted: (N, M, O).
            share: (N, 1), sqrt(n / (n - p)) for n values and p unknowns.

        Returns:
            (N, O), one level for each output, from its M values.
        """
        raise NotImplementedError(f"{self.label} noise does not say how its level is estimated")

    def likely_level(self, observed: Tensor, predicted: Tensor, share: Tensor) -> Tensor:
        """Return the maximum likelihood level, see `level`, which is usually the same."""
        return self.level(observed, predicted, share)

    def unbiased_level(self, level: Tensor, share: Tensor) -> Tensor:
        """Return the level to report, with n - p degrees of freedom, from the level of the fit."""
        return level * share

    # The likelihood

    @property
    def is_squared(self) -> bool:
        """Whether the loss is the squared residual over the squared level, as for normal noise."""
        return False

    @abstractmethod
    def squared(self) -> Noise:
        """Return normal noise in the same residuals, which a fit starts with."""

    def summed(self) -> Noise:
        """Return the noise whose `terms` give the information at an optimum."""
        return self

    def information_unit(self, scaled: Tensor, level: Tensor) -> Tensor:
        """Return the divisor (N, O) of the summed information.

        Args:
            scaled: (N, T, O), residuals over the level of the fit, NaN where a value is missing.
            level: (N, O), the level to report.
        """
        del scaled
        return torch.ones_like(level)

    def transformed(self, value: Tensor) -> Tensor:
        """Return values on the scale on which residuals are taken."""
        return value

    def residual(self, observed: Tensor, predicted: Tensor) -> Tensor:
        """Return residuals, on the scale on which the level is measured."""
        return self.transformed(observed) - self.transformed(predicted)

    def standardized(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return residuals over their standard deviation, the same whatever the prediction."""
        return self.residual(observed, predicted) / level

    def scatter(self, observed: Tensor, predicted: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return squared residuals over their variance, whose mean is 1, and their variance."""
        square = self.standardized(observed, predicted, level).square()
        return square, torch.full_like(square, 2.0)

    @abstractmethod
    def loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return -2 log p(y | f, s), without the terms that do not depend on the prediction."""

    def whole_loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return -2 log p(y | f, s), without the terms that depend on the observed value alone.

        Unlike `loss` it has those that depend on the level or on the noise's own parameters alone.
        """
        return self.loss(observed, predicted, level)

    @abstractmethod
    def information(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return the expected Fisher information about f from one observed value."""

    @abstractmethod
    def log_density(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return log p(y | f, s), the density of the observed value with every constant."""

    def normal_score(self, limit: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return u with P(y < limit) = Phi(u), for values beyond a limit of detection."""
        raise NotImplementedError

    def log_below(self, limit: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return log P(y < limit)."""
        return log_normal_cdf(self.normal_score(limit, predicted, level))

    def log_above(self, limit: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return log P(y > limit)."""
        return log_normal_cdf(-self.normal_score(limit, predicted, level))

    @property
    def knows_limits(self) -> bool:
        """Whether values may be censored: only known to be below or above a limit."""
        return type(self).normal_score is not Noise.normal_score

    @abstractmethod
    def draw(self, predicted: Floats, level: Floats, uniform: Floats) -> Floats:
        """Return random observed values, by inversion of uniform numbers in (0, 1)."""

    def terms(self, observed: Tensor, predicted: Tensor, precision: Tensor) -> tuple[Tensor, ...]:
        """Return the five quantities of each sample that a fit sums.

        Args:
            observed: Observed values.
            predicted: Predicted values, of the same shape.
            precision: One over the squared level, of the same shape.

        Returns:
            The residual r; -dr/df; the loss; its score -1/2 dloss/df over -dr/df; and the
            information, on the residual's scale, of a Gauss-Newton step.
        """
        # A general loss has the level as an argument, whereas the engines carry 1 / s^2.
        level = precision.rsqrt()
        loss, slope = with_slope(lambda f: self.loss(observed, f, level), predicted)
        one = torch.ones_like(predicted)
        residual = self.residual(observed, predicted)
        return residual, one, loss, -0.5 * slope, self.information(predicted, level)


def with_slope(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values of an elementwise function and its derivative.

    The function is elementwise, so that the Jacobian is diagonal, and its product with a vector of
    ones is the derivative of each element.
    """
    pair = torch.func.jvp(function, (at,), (torch.ones_like(at),))
    return pair[0], pair[1]


def _outside(values: Values, support: Support) -> Any:
    low, high = bounds(support)
    # Zero itself is outside, as its logarithm is infinite; intervals include their ends.
    if support == "positive":
        return values <= 0.0
    return (values < low) | (values > high)
