r"""Noise levels of a model whose unknowns change, from its innovations.

A value has the innovation e with the variance v, the level of the noise s^2 and what is not known
about the prediction. With c = dlog v / dlog s^2 and a = de / dlog s^2 / v^(1/2), a value's part of
the score of the likelihood, sum (log v + e^2 / v), by log s^2 is, less its sign,

    g = c (e^2 / v - 1) - 2 a e / v^(1/2), of the expected square 2 J, J = c^2 + 2 a^2.

A step of Fisher's scoring from the s^2 at hand is therefore the ratio of two sums over values,

    s^2 <- sum s^2 (J + g) / sum J.

Values of which much is unknown have a small c and count little. Each term has the expectation
J s^2 of the true s, to first order even where the s at hand is another one, so that the sums can
be continued while s changes. The part of a is not small: it tells noise, which differs from sample
to sample, from a random walk, and makes the level right where unknowns change less than the random
walk allows.

The derivatives follow from those of mean and covariance P of the unknowns. E = dP / dlog s^2 is
also the share of the noise, not the prior or the random walk, in their variance.

References:
    F. C. Schweppe, IEEE Trans. Inf. Theory 11 (1965) 61-70, doi:10.1109/TIT.1965.1053737.
    N. K. Gupta, R. K. Mehra, IEEE Trans. Autom. Control 19 (1974) 774-783,
    doi:10.1109/TAC.1974.1100714.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.likelihood.level_posterior import level_freedom, likely_log_level
from warp_phys.models.information.drift.filter import Taken
from warp_phys.models.information.prior.prior import Prior
from warp_phys.models.information.rows import Rows
from warp_phys.systems.noise.location_scale import LocationScale

# Standardized innovations count up to this. One in a thousand of those of the noise is larger, but
# also those after a jump of an unknown, which would say that there is more noise.
_LARGEST = 3.3
# Few values may have a negative sum of squares. The level never falls by more than this factor.
_LEAST = 0.25


@dataclass(frozen=True)
class LevelSums(Rows):
    """Sums of N records over values: squares, information J, sizes, numbers; each (N, O)."""

    squares: Tensor
    information: Tensor
    size: Tensor
    count: Tensor

    @classmethod
    def empty(cls, records: int, outputs: int) -> LevelSums:
        """Return sums of no values."""
        zeros = torch.zeros(records, outputs, dtype=torch.float64)
        return cls(zeros, zeros, zeros, zeros)


@dataclass(frozen=True)
class Level(Rows):
    """Logarithms of the noise levels, and their degrees of freedom; each (N, O)."""

    logarithm: Tensor
    freedom: Tensor


@dataclass(frozen=True)
class LevelRule:
    """How noise levels follow from innovations.

    Attributes:
        prior: The prior, with that of the levels.
        noise: The noise model, with its loss.
        kind: See `Recurrence`.
        caution: By how much the filter takes unknown variances larger than estimated.
    """

    prior: Prior
    noise: LocationScale
    kind: str
    caution: float = 1.0

    def start(self, records: int, outputs: int) -> Level:
        """Return the levels before the first sample."""
        zero = torch.zeros(records, outputs, dtype=torch.float64)
        if self.kind == "known":
            return Level(zero, zero + torch.inf)
        return Level(self.prior.level_center(zero), zero + 1.0)

    def variance(self, level: Level) -> Tensor:
        """Return the variances (N, O) with which a filter takes in values."""
        variance = (2.0 * level.logarithm).exp()
        return variance if self.kind == "known" else self.caution * variance

    def added(self, sums: LevelSums, level: Level, taken: Taken, size: Tensor) -> LevelSums:
        """Return the sums with those of one more sample.

        Args:
            sums: The sums so far.
            level: The levels at hand.
            taken: What taking in the sample left behind.
            size: (N, O), reference for the size of a residual.
        """
        seen = taken.score.isfinite()
        score = taken.score.nan_to_num(0.0)
        if self.noise.is_squared:
            score = score.clamp(-_LARGEST, _LARGEST)
            square = score.square()
        else:
            square = self.noise.level_term(score.square())
            score = score.sign() * square.sqrt()
        slope = taken.share * (square - 1.0) - 2.0 * taken.lean * score
        information = taken.share.square() + 2.0 * taken.lean.square()
        information, slope = torch.where(seen, torch.stack([information, slope]), 0.0)
        fresh = (information + slope) * self.variance(level)
        return LevelSums(
            sums.squares + fresh,
            sums.information + information,
            sums.size + torch.where(seen, size.square(), 0.0),
            sums.count + seen,
        )

    def solve(self, sums: LevelSums, before: Level) -> Level:
        """Return the levels that follow from sums."""
        if self.kind == "known":
            return before
        center = self.prior.level_center((sums.size / sums.count.clamp_min(1.0)).sqrt())
        width = self.prior.level_spread
        squares, information = sums.squares, sums.information
        if self.kind == "common":
            squares, information = (
                part.sum(dim=1, keepdim=True) for part in (squares, information)
            )
            center, width = center.amax(dim=1, keepdim=True), width[:1]
        # Where there is no level at hand yet, it is that of the prior.
        held = torch.where(sums.count > 0.0, before.logarithm, center)[:, : squares.shape[1]]
        squares = squares.maximum(_LEAST * information * (2.0 * held).exp())
        logarithm = likely_log_level(squares, information, center, width)
        freedom = level_freedom(squares, logarithm, width)
        return Level(logarithm.expand_as(sums.size), freedom.expand_as(sums.size))
