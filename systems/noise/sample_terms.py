r"""What a fit sums up for each sample: loss, scores and information about what is unknown.

Beside the prediction f, parameters of the noise itself may be unknown (a level that is estimated
jointly, a dispersion), and a value may be censored: below or above the limit that stands in its
place, so that its loss is -2 log P(y < limit) or -2 log P(y > limit).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.systems.noise.noise import Noise, with_slope
from warp_phys.systems.noise.special import log_normal_cdf_and_slopes

LEVEL = "level"
"""Name of the level among the unknown parameters of the noise."""
BELOW, ABOVE = 1, 2
"""Flags of values that are only known to be below or above a limit; 0 means measured."""


@dataclass(frozen=True)
class SampleTerms:
    """The terms of the samples of one output.

    Attributes:
        noise: The noise model.
        names: Its unknown parameters, K of them; the level may be one.
        censored: Whether a flag says for each value whether it is a limit.
    """

    noise: Noise
    names: tuple[str, ...] = ()
    censored: bool = False

    @property
    def variables(self) -> list[str]:
        """Names of the arguments in generated code."""
        own = [f"own_{place}" for place in range(len(self.names))]
        return ["observed", "predicted", "precision", *own, *(["flag"] if self.censored else [])]

    @property
    def width(self) -> int:
        """How many terms there are."""
        count = len(self.names)
        return 5 + 2 * count + count * (count + 1) // 2

    def __call__(
        self, observed: Tensor, predicted: Tensor, precision: Tensor, *others: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the terms of values, all of one shape.

        Args:
            observed: Observed values, or limits.
            predicted: Predicted values.
            precision: One over the squared level, where it is not among the unknown parameters.
            *others: Values of the K unknown parameters, then the flags where there are any.

        Returns:
            The five terms of `Noise.terms`; K scores; the information about f, on the residual's
            scale, together with each of the K; the K (K + 1) / 2 of the lower triangle of the
            information about the K, row by row.
        """
        count = len(self.names)
        if not count and not self.censored:
            return self.noise.terms(observed, predicted, precision)
        values, flags = others[:count], others[count:]
        found = self._measured(observed, predicted, precision, values)
        if not self.censored:
            return found
        limited = self._limited(observed, predicted, precision, values, flags[0])
        pairs = zip(limited, found, strict=True)
        return tuple(torch.where(flags[0] > 0.0, limit, value) for limit, value in pairs)

    def _placed(self, precision: Tensor, values: tuple[Tensor, ...]) -> tuple[Noise, Tensor]:
        """Return the noise with its parameters, and its level."""
        given = dict(zip(self.names, values, strict=True))
        level = given.pop(LEVEL, None)
        return self.noise.at(given), precision.rsqrt() if level is None else level

    def _measured(
        self, observed: Tensor, predicted: Tensor, precision: Tensor, values: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        noise, level = self._placed(precision, values)
        inverse = level.square().reciprocal()
        residual, stretch, loss, score, information = noise.terms(observed, predicted, inverse)
        if not values:
            return residual, stretch, loss, score, information

        def whole(*inner: Tensor) -> Tensor:
            at, size = self._placed(precision, inner)
            return at.whole_loss(observed, predicted, size)

        scores = _slopes(whole, values)
        # Where the information about the noise's own parameters is not known in closed form, the
        # products of the scores take its place: their expectation is the information.
        about = noise.own_information(observed, predicted, level)
        if not about:
            return residual, stretch, whole(*values), score, information, *_outer(scores)
        zero = torch.zeros_like(predicted)

        def pair(first: str, second: str) -> Tensor:
            return about.get((first, second), about.get((second, first), zero))

        names = self.names
        both = [pair(names[k], names[m]) for k in range(len(names)) for m in range(k + 1)]
        crossed = [pair(name, "f") / stretch for name in names]
        five = residual, stretch, whole(*values), score, information
        return (*five, *scores, *crossed, *both)

    def _limited(
        self,
        observed: Tensor,
        predicted: Tensor,
        precision: Tensor,
        values: tuple[Tensor, ...],
        flag: Tensor,
    ) -> tuple[Tensor, ...]:
        noise, level = self._placed(precision, values)
        side = torch.where(flag < 1.5, 1.0, -1.0)

        def score_at(f: Tensor) -> Tensor:
            return side * noise.normal_score(observed, f, level)

        def whole(*inner: Tensor) -> Tensor:
            at, size = self._placed(precision, inner)
            return side * at.normal_score(observed, predicted, size)

        # log P = log Phi(w), whose first two derivatives by w are h and -h (w + h).
        w, slope = with_slope(score_at, predicted)
        log, hazard, curvature = log_normal_cdf_and_slopes(w)
        _, stretch = with_slope(noise.transformed, predicted)
        along = slope / stretch
        # The curvature of w itself is left out, so that information is not negative.
        five = (
            noise.residual(observed, predicted),
            stretch,
            -2.0 * log,
            hazard * along,
            curvature * along.square(),
        )
        scores = [-2.0 * hazard * part for part in _slopes(whole, values)]
        return (*five, *_outer(scores))


def _slopes(loss: object, values: tuple[Tensor, ...]) -> list[Tensor]:
    """Return the scores: -1/2 times the derivatives of an elementwise loss by each value."""
    found = []
    for place in range(len(values)):

        def along(one: Tensor, place: int = place) -> Tensor:
            return loss(*values[:place], one, *values[place + 1 :])  # type: ignore[operator]

        found.append(-0.5 * with_slope(along, values[place])[1])
    return found


def _outer(scores: list[Tensor]) -> list[Tensor]:
    """Return K scores, K zeros, and the products of the scores."""
    zeros = [torch.zeros_like(one) for one in scores]
    products = [scores[k] * scores[m] for k in range(len(scores)) for m in range(k + 1)]
    return [*scores, *zeros, *products]
