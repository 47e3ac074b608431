r"""Unknowns that change: the recurrence of parameters that take a random walk.

Some parameters take a random walk in their unconstrained coordinates, of a standard deviation that
is given for each root of the time unit. What is estimated are the parameters and the states at the
current time. A sample is taken in by an extended Kalman filter, linearized at the estimate before
it (`filter.py`). That alone is poor while much is unknown: errors of the linearizations stay in
the estimate. At growing marks, all samples since a base are therefore linearized anew, along the
best path (`path.py`). After some number of samples the base follows them: what was known at a
sample in the middle replaces all before it, so that memory is constant.

References:
    B. D. O. Anderson, J. B. Moore, Optimal Filtering, Prentice-Hall, 1979, ch. 8.
    S. Särkkä, Bayesian Filtering and Smoothing, Cambridge, 2013, ch. 5, 9.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.models.information.drift.coordinate_flow import CoordinateFlow, Observed, Place
from warp_phys.models.information.drift.filter import Normal, take
from warp_phys.models.information.drift.level import Level, LevelRule, LevelSums
from warp_phys.models.information.drift.path import Base, Chain, Filtered, Improved, PathFinder
from warp_phys.models.information.drift.start import StillStarts, opening
from warp_phys.models.information.innovations import Innovations
from warp_phys.models.information.rows import Rows
from warp_phys.models.information.running import Recurrence

# Marks at which other starts are tried.
_TRIES = 2
# Unknown variances of the noise are taken larger than estimated, because too small a one lets the
# random walk follow the noise, which costs more than one too large. Chosen between 1, 1.2 and 1.4
# on drifts and jumps of Lotka-Volterra and pendulum: errors of parameters that change steadily are
# a tenth smaller than at 1, and those of a true random walk not larger. The reported covariance
# leaves it out.
_CAUTION = 1.4


@dataclass(frozen=True)
class Drifting(Rows):
    """The hidden state of N records.

    Attributes:
        place: Time and inputs of the last sample.
        known: What is known about the current coordinates: of the free parameters and all states.
        sums: The sums of the noise levels.
        level: The noise levels.
        base: Where the paths start.
        predicted: (N, O), outputs at the last sample.
        innovations: The test whether the model describes the record.
        tries: (N,), how often other starts were tried.
        status: (N,), bits of `ESTIMATE_STATUS`.
    """

    place: Place
    known: Normal
    sums: LevelSums
    level: Level
    base: Base
    predicted: Tensor
    innovations: Innovations
    tries: Tensor
    status: Tensor

    def covariance(self, rule: LevelRule) -> Tensor:
        """Return the covariance (N, K, K) at the estimated levels, without the filter's caution."""
        if rule.kind == "known" or self.known.by_level is None:
            return self.known.covariance
        # To first order, P - E log(caution); E <= P, because the rest is that of prior and walk.
        return self.known.covariance - math.log(rule.caution) * self.known.by_level.covariance

    def freedom(self, kind: str) -> Tensor:
        """Return the degrees of freedom (N, K) of the standard deviations of the unknowns.

        By Satterthwaite's approximation they are nu / c^2, where c is the share of the noise in a
        variance, rather than of the prior and the random walk, and nu those of the noise level: of
        several levels their mean, which is the harmonic one because variances of variances add.
        """
        if kind == "known" or self.known.by_level is None:
            return torch.full_like(self.known.mean, torch.inf)
        variance = self.known.covariance.diagonal(dim1=1, dim2=2)
        share = self.known.by_level.covariance.diagonal(dim1=1, dim2=2) / variance.clamp_min(1e-300)
        nu = 1.0 / self.level.freedom.reciprocal().mean(dim=1, keepdim=True)
        return nu / share.square().clamp_min(1e-12)


class DriftingRecurrence:
    """Advances the hidden states of records whose parameters change.

    Args:
        problem: N records; with `at` a state and samples of any others of the same kind.
        recurrence: Prior and noise.
        drift: Standard deviations of random walks for each root of the time unit, in unconstrained
            coordinates, by parameter.
    """

    def __init__(
        self, problem: FitProblem, recurrence: Recurrence, drift: Mapping[str, float]
    ) -> None:
        self.problem = problem
        self.prior = recurrence.prior
        self.flow = CoordinateFlow(problem, recurrence.noise)
        names = [entry.name for entry in self.flow.entries[: self.flow.free]]
        rate = torch.tensor([drift.get(name, 0.0) for name in names], dtype=torch.float64).square()
        caution = _CAUTION if bool(rate.any()) else 1.0
        self.rule = LevelRule(recurrence.prior, recurrence.noise, recurrence.kind, caution)
        self.finder = PathFinder(self.flow, self.rule, rate)
        self.starts = StillStarts(problem, recurrence.prior, self.flow)

    def start(self) -> Drifting:
        """Return the state of the problem's records before the first sample."""
        count, _, outputs = self.problem.records.observed.shape
        known = opening(self.problem, self.prior, self.flow.entries)
        inputs = Observed.of(self.problem).inputs[:, 0]
        place = Place(self.problem.start, inputs, self.problem.unknowns.parameters)
        sums = LevelSums.empty(count, outputs)
        number = torch.zeros(count, dtype=torch.int64)
        return Drifting(
            place,
            known,
            sums,
            self.rule.start(count, outputs),
            Base(place, known, sums, torch.zeros_like(known.mean)),
            torch.full((count, outputs), torch.nan, dtype=torch.float64),
            Innovations.empty(count, outputs),
            tries=number,
            status=number,
        )

    def advance(self, before: Drifting, sample: Observed) -> Drifting:
        """Return the state after one more sample."""
        interval, place = self.flow.move(before.known.mean, before.place, sample)
        level, finder = before.level, self.finder
        noise = finder.noise(interval, self.rule.variance(level))
        still = replace(before.known, mean=torch.zeros_like(before.known.mean))
        taken = take(still, interval, noise)
        known = finder.carried(taken.known, interval, None)
        size = self.flow.noise.magnitude(sample.values)
        sums = self.rule.added(before.sums, level, taken, size)
        after = self.rule.solve(sums, level)
        return replace(
            before,
            place=place,
            known=replace(known, mean=interval.after + known.mean),
            sums=sums,
            level=after,
            predicted=self.flow.predicted(interval, taken.known.mean, sample.weights),
            innovations=self._tested(before, taken.score, sums.count, after),
        )

    def _tested(self, before: Drifting, scores: Tensor, count: Tensor, level: Level) -> Innovations:
        """Return the test with one more sample, of innovations over their standard deviations."""
        squares = scores.square()
        if not self.rule.noise.is_squared:
            squares = self.rule.noise.level_term(squares)
        fresh = (2.0 * before.level.logarithm).exp() * squares.nan_to_num(0.0)
        total = before.innovations.squares[:, -1] + fresh
        fewest = len(self.prior.mean) + 2
        after = before.innovations.added(total, count, level.logarithm, level.freedom, fewest)
        # The linearization is that of the filter at every sample: there is no better one to confirm
        # a suspicion at.
        return after.relinearized(total, level.logarithm, level.freedom, fewest)

    def mark(self, before: Drifting, samples: Observed, keep: int = 0) -> Drifting:
        """Return the state after samples that were linearized anew.

        Args:
            before: The state after these samples.
            samples: (N, n, ...), all samples since the base.
            keep: After how many of these samples the base will be; 0 where it stays.
        """
        base, level = before.base, before.level
        if samples.time.shape[1] == 1:
            base = replace(base, pull=self.starts.first(base, samples))
        found = self.finder.improved(base, samples, level, keep)
        values = before.sums.count.sum(dim=1)
        due = (before.tries < _TRIES) & (values > len(self.prior.mean) * (1 + before.tries))
        due &= base.sums.count.sum(dim=1) == 0.0
        if due.any():
            found = self._restarted(found, samples, due.nonzero()[:, 0], keep)
        base, chain, level, passed = found
        state = replace(before, base=base, level=level, tries=before.tries + due)
        state = self._at_end(state, chain, samples, passed)
        return self._rebased(state, passed, chain, keep) if keep else state

    def _restarted(self, found: Improved, samples: Observed, rows: Tensor, keep: int) -> Improved:
        """Return paths of which some are replaced where another start is better."""
        base, chain, level, passed = found
        mine, part, levels = base.select(rows), samples.select(rows), level.select(rows)
        other = replace(mine, pull=self.starts.best(mine, part, levels))
        other, linear, levels, again = self.finder.improved(other, part, levels, keep)
        better = linear.objective < chain.objective[rows]
        chosen = rows[better]
        return (
            base.replaced(chosen, other.select(better)),
            chain.replaced(chosen, linear, better),
            level.replaced(chosen, levels.select(better)),
            passed.replaced(chosen, again, better),
        )

    def _at_end(
        self, before: Drifting, chain: Chain, samples: Observed, passed: Filtered
    ) -> Drifting:
        """Return the state at the end of chains."""
        last, taken = chain.links[-1].interval, passed.taken[-1]
        return replace(
            before,
            place=chain.place,
            known=replace(passed.known, mean=chain.end + passed.known.mean),
            sums=passed.sums,
            predicted=self.flow.predicted(last, taken.known.mean, samples.at(-1).weights),
        )

    def _rebased(self, state: Drifting, passed: Filtered, chain: Chain, keep: int) -> Drifting:
        """Return the state with the base after `keep` of the samples."""
        assert passed.middle is not None
        known, sums = passed.middle.known, passed.middle.sums
        following = chain.links[keep].interval
        place = replace(state.place, time=following.time, inputs=following.inputs)
        mean = following.origin + known.mean
        return replace(
            state,
            base=Base(
                place, replace(known, mean=mean), sums, self.finder.pull(chain, passed, keep)
            ),
        )
