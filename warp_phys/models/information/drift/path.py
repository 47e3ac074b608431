r"""The linearization of records along the path of a filter, improved by Gauss-Newton steps.

What is not known about a record are the coordinates x_0 at its base and the steps of the random
walk. Given x_0, an extended Kalman filter that starts there without any spread follows the record:
its innovations e_k, with variances v_k, give the marginal likelihood of x_0, in which the steps of
the random walk are integrated out, so that x_0 = m + P u minimizes

    Phi = 1/2 sum (rho(e_k^2 / v_k) + log v_k) + 1/2 u^T P u.

Linearized along the path of that filter, the record is a linear model of all unknowns. A Kalman
filter of that model, from N(m, P), says what is known after the record, and a backward pass what
x_0 then is: a Gauss-Newton step of Phi, along which the derivative of v is neglected; its part in
the gradient, (1 - e^2 / v) dlog v, has the mean zero. Steps that would raise Phi are shortened.
Without a random walk this is the least squares fit of the record.

The intervals are not linearized along the most probable path, as an iterated Kalman smoother does:
its steps follow the noise, and so do the sensitivities there. The estimate is then drawn to where
the random walk explains most noise, by many standard deviations where the data say little. The path
of a filter depends on earlier samples only, of which the innovations are independent.

References:
    L. Ljung, IEEE Trans. Autom. Control 24 (1979) 36-50, doi:10.1109/TAC.1979.1101943.
    B. M. Bell, SIAM J. Optim. 4 (1994) 626-636, doi:10.1137/0804035 (the iterated smoother).
    S. Särkkä, Bayesian Filtering and Smoothing, Cambridge, 2013, ch. 5, 12.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.models.information.drift.coordinate_flow import (
    CoordinateFlow,
    Interval,
    Observed,
    Place,
)
from warp_phys.models.information.drift.filter import Normal, Taken, backward, carry, take
from warp_phys.models.information.drift.level import Level, LevelRule, LevelSums
from warp_phys.models.information.rows import Rows

# A step shorter than this many standard deviations needs no other linearization.
_SHORT = 0.3
# Steps at most; one that raises the objective is shortened by this factor.
_STEPS, _SHORTER = 5, 0.25
# Rise of the objective that rounding explains.
_SLACK = 1e-6


@dataclass(frozen=True)
class Base(Rows):
    """Where the paths of N records start.

    Attributes:
        place: Time and inputs there.
        known: What is known about the coordinates there.
        sums: The sums of the noise levels over all samples before.
        pull: (N, K), u of the best path so far.
    """

    place: Place
    known: Normal
    sums: LevelSums
    pull: Tensor

    @property
    def away(self) -> Tensor:
        """(N, K), P u, where the paths start less the mean."""
        return (self.known.covariance @ self.pull.unsqueeze(2)).squeeze(2)


@dataclass(frozen=True)
class Link(Rows):
    """An interval of a path, and by how much (N, K) the filter moves the path at its end."""

    interval: Interval
    step: Tensor


@dataclass(frozen=True)
class Chain:
    """The paths of N records.

    Attributes:
        links: Their intervals.
        end: (N, K), where they end.
        place: Time and inputs there.
        squares: (N,), sum of e^2 / v and u^T P u.
        objective: (N,), Phi; infinite where there is no finite path.
    """

    links: list[Link]
    end: Tensor
    place: Place
    squares: Tensor
    objective: Tensor

    def replaced(self, rows: Tensor, other: Chain, chosen: Tensor) -> Chain:
        """Return the chain in which the records `rows` are the `chosen` ones of another."""
        pairs = zip(self.links, other.links, strict=True)
        return Chain(
            [mine.replaced(rows, theirs.select(chosen)) for mine, theirs in pairs],
            self.end.index_copy(0, rows, other.end[chosen]),
            self.place.replaced(rows, other.place.select(chosen)),
            self.squares.index_copy(0, rows, other.squares[chosen]),
            self.objective.index_copy(0, rows, other.objective[chosen]),
        )


@dataclass(frozen=True)
class Middle(Rows):
    """What is known after a sample in the middle of a path, and the sums of the levels there."""

    known: Normal
    sums: LevelSums


@dataclass(frozen=True)
class Filtered:
    """What a filter of the linear model found.

    Attributes:
        taken: At each sample.
        known: About deviations from the end of the path.
        sums: The sums of the noise levels.
        squares: (N,), sum of e^2 / v.
        middle: What was known, and the sums, after the sample at which the base will be.
    """

    taken: list[Taken]
    known: Normal
    sums: LevelSums
    squares: Tensor
    middle: Middle | None

    def replaced(self, rows: Tensor, other: Filtered, chosen: Tensor) -> Filtered:
        """Return the filter in which the records `rows` are the `chosen` ones of another."""
        pairs = zip(self.taken, other.taken, strict=True)
        middle = None
        if self.middle is not None and other.middle is not None:
            middle = self.middle.replaced(rows, other.middle.select(chosen))
        return Filtered(
            [mine.replaced(rows, theirs.select(chosen)) for mine, theirs in pairs],
            self.known.replaced(rows, other.known.select(chosen)),
            self.sums.replaced(rows, other.sums.select(chosen)),
            self.squares.index_copy(0, rows, other.squares[chosen]),
            middle,
        )


Improved = tuple[Base, Chain, Level, Filtered]
"""Bases with the best paths, the paths, their noise levels, and filters along them."""


@dataclass(frozen=True)
class PathFinder:
    """Finds paths.

    Attributes:
        flow: Moves records.
        rule: Of the noise levels.
        rate: (F,), variance of the random walks for a unit of time.
    """

    flow: CoordinateFlow
    rule: LevelRule
    rate: Tensor

    def chain(self, base: Base, samples: Observed, level: Level) -> Chain:
        """Return the paths of filters that start at m + P u without any spread."""
        away, place = base.away, base.place
        x, variance = base.known.mean + away, self.rule.variance(level)
        squares = loss = (away * base.pull).sum(dim=1)
        still = torch.zeros_like(x)
        spread = torch.zeros_like(base.known.covariance)
        links, lost = [], torch.zeros(len(x), dtype=torch.bool)
        for sample in range(samples.time.shape[1]):
            seen = samples.at(sample)
            interval, place = self.flow.move(x, place, seen)
            taken = take(Normal(still, spread, None), interval, self.noise(interval, variance))
            after = self.carried(taken.known, interval, None)
            spread, x = after.covariance, interval.after + after.mean
            links.append(Link(interval, after.mean))
            square, log_volume = taken.score.square().nan_to_num(0.0), taken.volume.log()
            squares = squares + square.sum(dim=1)
            loss = loss + (self.rule.noise.rho(square) + log_volume).sum(dim=1)
            missed = (interval.residual.isnan() & seen.values.isfinite()).any(dim=1)
            lost |= interval.failed | missed
        objective = torch.where(lost | loss.isnan(), torch.inf, 0.5 * loss)
        return Chain(links, x, place, squares, objective)

    def filtered(
        self, base: Base, chain: Chain, samples: Observed, level: Level, keep: int = 0
    ) -> Filtered:
        """Filter the linear model; `keep` is the number of samples after which the base will be."""
        known, sums = replace(base.known, mean=-base.away), base.sums
        squares = torch.zeros(len(chain.end), dtype=torch.float64)
        variance, taken, middle = self.rule.variance(level), [], None
        for sample, link in enumerate(chain.links):
            found = take(known, link.interval, self.noise(link.interval, variance))
            known = self.carried(found.known, link.interval, link.step)
            size = self.flow.noise.magnitude(samples.values[:, sample])
            sums = self.rule.added(sums, level, found, size)
            squares = squares + found.score.square().nansum(dim=1)
            taken.append(found)
            if sample + 1 == keep:
                middle = Middle(known, sums)
        return Filtered(taken, known, sums, squares, middle)

    def noise(self, interval: Interval, variance: Tensor) -> Tensor:
        """Return the variances (N, O) of the noise, larger where the loss gives less weight."""
        if self.rule.noise.is_squared:
            return variance
        square = (interval.residual.square() / variance).nan_to_num(0.0)
        return variance / self.rule.noise.weight(square)

    def carried(self, known: Normal, interval: Interval, step: Tensor | None) -> Normal:
        """Return what is known after an interval, and after a step (N, K) of the path."""
        return carry(known, interval, step, interval.span.unsqueeze(1) * self.rate)

    def pull(self, chain: Chain, passed: Filtered, keep: int = 0) -> Tensor:
        """Return u (N, K) after a Gauss-Newton step, of the base after `keep` samples."""
        multiplier = torch.zeros_like(chain.end)
        pairs = list(zip(chain.links, passed.taken, strict=True))[keep:]
        for link, taken in reversed(pairs):
            multiplier = backward(multiplier, link.interval, taken)
        return -multiplier

    def improved(self, base: Base, samples: Observed, level: Level, keep: int = 0) -> Improved:
        """Return bases with better paths, the paths, their noise levels, and filters along them."""
        chain = self.chain(base, samples, level)
        share = torch.ones(len(base.pull), 1, dtype=torch.float64)
        for _ in range(_STEPS):
            passed = self.filtered(base, chain, samples, level, keep)
            rows = (~(chain.squares - passed.squares <= _SHORT**2)).nonzero()[:, 0]
            solved = self.rule.solve(passed.sums, level)
            if not rows.numel():
                return base, chain, solved, passed
            # Records that have arrived keep everything, so that they do not depend on others.
            level = level.replaced(rows, solved.select(rows))
            mine, best = base.select(rows), self.pull(chain, passed)[rows]
            mine = replace(mine, pull=mine.pull + share[rows] * (best - mine.pull))
            tried = self.chain(mine, samples.select(rows), level.select(rows))
            good = tried.objective <= chain.objective[rows] + _SLACK
            share[rows] = torch.where(good.unsqueeze(1), 1.0, share[rows] * _SHORTER)
            chain = chain.replaced(rows[good], tried, good)
            base = base.replaced(rows[good], mine.select(good))
        passed = self.filtered(base, chain, samples, level, keep)
        return base, chain, self.rule.solve(passed.sums, level), passed
