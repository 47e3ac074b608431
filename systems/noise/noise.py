"""What every noise model says: residuals, loss, information, log density, draws."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.supports import Support, bounds, describe

Floats = NDArray[np.float64]
Values = TypeVar("Values", Floats, Tensor)

DEFINED: dict[str, type[Noise]] = {}
"""The noise models defined so far, by name: the package's that were imported, and the user's."""


class Noise(ABC):
    r"""The distribution of an observed value y about the value f that a model predicts.

    .. math::
        y \sim p(y \mid f, s)

    with a level s where the model has one. `simulate` draws from it, `fit` maximizes its
    likelihood, `forecast` widens its bands by it, and `summary` prints it. A model of your own
    is a subclass in one file, passed as `distribution=MyNoise()`. Where the errors are those of
    the value, or of a function of the value, times a level, it derives from `LocationScale`, which
    asks for a loss and quantiles alone; counts and the like derive from this class.

    `loss` and `information` are traced and become compiled code: they are written with torch
    functions of tensors, element by element, without decisions by value (`torch.where` instead).

    Attributes:
        name: What `distribution=` and files call it; as that of the file, for the package's own.
        label: The same in a sentence.
        support: What can be observed, "real", "positive" or an interval.
        level_name: What the level is called in `summary`; None for noise without a level.
        level_note: What the level measures if not the observed values, such as "of logarithms".
        relative: Whether residuals have no unit, as those of logarithms.
        chi_square: Whether squared residuals over known levels add up to a chi-square.
        loss_name: The argument `loss` of `fit` that selects it.
        likelihood_note: What the log likelihood is, where it is not plainly that of this noise.
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

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" in vars(cls):
            DEFINED[cls.name] = cls
            if "label" not in vars(cls):
                cls.label = cls.name.replace("_", " ")

    @property
    def settings(self) -> dict[str, Any]:
        """Its own parameters, as JSON holds them; `type(noise)(**settings)` makes it again."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    @property
    def key(self) -> tuple[type, str, str]:
        """What two objects of the same noise have in common, and only those."""
        try:
            return type(self), self.name, json.dumps(self.settings, sort_keys=True)
        except TypeError as error:
            raise UsageError(
                f"expected parameters of {type(self).__name__} that JSON can hold: {error}"
            ) from None

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}({given})"

    # What may be observed

    def impossible(self, observed: Values) -> Any:
        """Return which observed values cannot be; missing ones (NaN) can."""
        return _outside(observed, self.support)

    def undefined(self, predicted: Values) -> Any:
        """Return for which predicted values there is no distribution; missing ones (NaN) pass."""
        return _outside(predicted, self.support)

    @property
    def wanted(self) -> str:
        """What may be observed, as an adjective: "positive"; "real" where all numbers may be."""
        return describe(self.support)

    # Levels

    def level_unit(self, output_unit: str) -> str:
        """Return the unit of the level."""
        return "1" if self.relative else output_unit

    def relative_level(self, share: float, spread: Floats) -> Floats:
        """Return the level that a plain number stands for in `simulate(noise=share)`.

        Args:
            share: The number.
            spread: Standard deviation of each output along its own noiseless trajectory.
        """
        if self.relative:
            return np.full_like(spread, share)
        return share * spread

    def magnitude(self, observed: Tensor) -> Tensor:
        """Return what the size of a residual is compared with: the value, or 1 where relative."""
        return torch.ones_like(observed) if self.relative else observed

    def level(self, observed: Tensor, predicted: Tensor, share: Tensor) -> Tensor:
        """Return the level at which a fit takes the loss, where that is not square.

        Args:
            observed: (N, M, O), NaN where nothing was seen.
            predicted: (N, M, O).
            share: (N, 1), sqrt(n / (n - p)) of n values and p unknowns.

        Returns:
            (N, O), from the M values of each.
        """
        raise NotImplementedError(f"{self.label} noise does not say how its level is estimated")

    def likely_level(self, observed: Tensor, predicted: Tensor, share: Tensor) -> Tensor:
        """Return the level of maximum likelihood, see `level`, which mostly is the same."""
        return self.level(observed, predicted, share)

    def unbiased_level(self, level: Tensor, share: Tensor) -> Tensor:
        """Return the level to report, with n - p degrees of freedom, from that of the fit."""
        return level * share

    # The likelihood

    @property
    def is_squared(self) -> bool:
        """Whether the loss is the squared residual over the squared level, as of normal noise."""
        return False

    @abstractmethod
    def squared(self) -> Noise:
        """Return normal noise in the same residuals: what a fit starts from."""

    def summed(self) -> Noise:
        """Return the noise by whose `terms` the information at an optimum is summed up."""
        return self

    def information_unit(self, scaled: Tensor, level: Tensor) -> Tensor:
        """Return what the information that was summed up is to be divided by, (N, O).

        Args:
            scaled: (N, T, O), residuals over the level of the fit, NaN where nothing was seen.
            level: (N, O), the level to report.
        """
        del scaled
        return torch.ones_like(level)

    def transformed(self, value: Tensor) -> Tensor:
        """Return values in the scale in which residuals are taken."""
        return value

    def residual(self, observed: Tensor, predicted: Tensor) -> Tensor:
        """Return residuals, in the scale in which the level is measured."""
        return self.transformed(observed) - self.transformed(predicted)

    @abstractmethod
    def loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return -2 log p(y | f, s), but for terms that do not depend on the prediction."""

    @abstractmethod
    def information(self, predicted: Tensor, level: Tensor) -> Tensor:
        """Return the expected Fisher information about f in one observed value."""

    @abstractmethod
    def log_density(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return log p(y | f, s), of the observed values themselves, every constant included."""

    @abstractmethod
    def draw(self, predicted: Floats, level: Floats, uniform: Floats) -> Floats:
        """Return observed values, one for each number drawn uniformly from (0, 1)."""

    def terms(self, observed: Tensor, predicted: Tensor, precision: Tensor) -> tuple[Tensor, ...]:
        """Return what the engines add up, five numbers for each sample.

        Args:
            observed: Observed values.
            predicted: Predicted values, of the same shape.
            precision: One over the squared level, of the same shape.

        Returns:
            The residual r; -dr/df; the loss; its score -1/2 dloss/df over -dr/df; and the
            information, in the residual's scale, that a step of Gauss and Newton goes by.
        """
        level = precision.rsqrt()
        loss, slope = with_slope(lambda f: self.loss(observed, f, level), predicted)
        one = torch.ones_like(predicted)
        residual = self.residual(observed, predicted)
        return residual, one, loss, -0.5 * slope, self.information(predicted, level)


def with_slope(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """Return a function of each element, and its derivative."""
    pair = torch.func.jvp(function, (at,), (torch.ones_like(at),))
    return pair[0], pair[1]


def _outside(values: Values, support: Support) -> Any:
    low, high = bounds(support)
    if support == "positive":
        return values <= 0.0
    return (values < low) | (values > high)
