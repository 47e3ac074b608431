"""A mark: the whole record so far is linearized anew, where it is best, and its sums made again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.likelihood.residual_checks import pattern_of
from warp_phys.models.information.correction import Correction
from warp_phys.models.information.kernels.segment import SegmentKernel
from warp_phys.models.information.marks.bent import bent
from warp_phys.models.information.marks.linearizer import Linearizer
from warp_phys.models.information.marks.ridge import ridge_moments
from warp_phys.models.information.marks.settle import settle
from warp_phys.models.information.prior.points import prior_points
from warp_phys.models.information.running import Recurrence
from warp_phys.models.information.state import Belief, Running, Sums

# A step shorter than this many standard deviations needs no other linearization: what remains of
# the nonlinearity is of second order in it.
SHORT = 1.0
# Marks at which points of the prior are tried, too.
_TRIES = 2
# Alternations of estimate and noise level.
ROUNDS = 3
# Squared length of a step, in standard deviations for each unknown, at which an estimate has run
# away. Steps of ten standard deviations are common while a few samples shrink the bands.
STALE = 1000.0
# Optima this many standard deviations apart are different ones; the other counts from this weight
# relative to the best on.
_APART, _WEIGHT = 3.0, 0.01
# Length of a step, in standard deviations for each unknown, at which linearizations disagree.
_JUMP = 4.0

Candidates = Callable[[Tensor, int], Tensor]
"""Other coordinates (n, D) to try for some records after a number of samples, NaN if unknown."""


class Marker:
    """Linearizes N records anew at marks.

    Args:
        linearizer: Linearizes the records; keeps the result.
        recurrence: The recurrence.
        start: Estimates of another model, to be tried in place of points of the prior.
        kernel: Compiled code of the recurrence, on what the linearizer keeps; or None.
    """

    def __init__(
        self,
        linearizer: Linearizer,
        recurrence: Recurrence,
        start: Candidates | None = None,
        kernel: SegmentKernel | None = None,
    ) -> None:
        self.kernel = kernel
        self.linearizer, self.recurrence, self.start = linearizer, recurrence, start
        self.problem = linearizer.problem
        self.prior = recurrence.prior

    def mark(self, state: Running, samples: int, upto: int) -> Running:
        """Return the state after `samples` samples, linearized for all samples before `upto`."""
        every = torch.arange(len(self.problem))
        values = state.base.count.sum(dim=1) + state.sums.count.sum(dim=1)
        z = state.point + state.belief.delta
        found = self._linearized(state, z, every, samples, upto)
        worse = self._lost(found, state) | ~self.recurrence.no_worse(found, state)
        due = (values > z.shape[1]) & (state.tries < _TRIES)
        due |= ((state.status & 8) | (state.status & 2) != 0) & (state.tries < 3 * _TRIES)
        moving = found.belief.decrement > SHORT**2
        rows = (worse | moving | due).nonzero()[:, 0]
        if rows.numel():
            found = self._settled(state, found, rows, due, worse, samples, upto)
        found = tested(self.recurrence, self._patterned(found, samples))
        found = _judged(found, state, lost=self._lost(found, state))
        return self._bent(found, values, samples)

    def confirm(self, state: Running, samples: int, upto: int) -> Running:
        """Linearize records in doubt anew, and set alarms where their residuals stay large."""
        rows = in_doubt(state).nonzero()[:, 0]
        if not rows.numel():
            return state
        return state.replaced(rows, self.confirmed(state, rows, samples, upto))

    def confirmed(self, state: Running, rows: Tensor, samples: int, upto: int) -> Running:
        """Return the state of records in doubt (n,), linearized anew, with confirmed alarms."""
        mine, part = state.select(rows), self.problem.select(rows)
        candidates = torch.stack([mine.point + mine.belief.delta, mine.point])
        reached, objective = settle(part, self.prior, candidates, samples, mine.belief.log_level)
        z = reached[objective.argmin(dim=0), torch.arange(len(rows))]
        again = self._linearized(state, z, rows, samples, upto)
        return tested(self.recurrence, again)

    def _linearized(
        self, state: Running, z: Tensor, rows: Tensor, samples: int, upto: int
    ) -> Running:
        """Return the state of some records, linearized at z (n, D), with the prior as base."""
        self.linearizer.evaluate(z, rows, upto)
        mine = state if len(rows) == len(self.problem) else state.select(rows)
        base, belief = self.recurrence.base(len(rows)), mine.belief
        correction = Correction.none(len(rows), z.shape[1])
        mine = replace(mine, point=z, base=base, correction=correction)
        if self.kernel is not None:
            return self.kernel.sum_up(mine, rows, samples, ROUNDS)
        sums, squares = self._sums(rows, samples, belief)
        for turn in range(ROUNDS):
            if turn and not self.recurrence.noise.is_squared:
                # The weights of a robust loss depend on the levels.
                sums, squares = self._sums(rows, samples, belief)
            belief = self.recurrence.solve(z, base, sums, mine.size, belief, squares)
        return replace(mine, sums=sums, belief=belief)

    def _sums(self, rows: Tensor, samples: int, belief: Belief) -> tuple[Sums, Tensor | None]:
        """Return the sums of some records, and their squares for the levels of a robust loss."""
        noise, linearizer = self.recurrence.noise, self.linearizer
        if noise.is_squared:
            return linearizer.total(rows, samples, None), None
        scores = linearizer.scores(rows, samples, belief)
        variance = (2.0 * belief.log_level).exp()
        squares = variance * noise.level_term(scores.square()).nansum(dim=1)
        return linearizer.total(rows, samples, self.recurrence.weight(scores)), squares

    def _lost(self, found: Running, state: Running) -> Tensor:
        """Return (N,) whether the model could not be integrated to all samples of a state."""
        return (found.sums.count < state.base.count + state.sums.count).any(dim=1)

    def _settled(
        self,
        state: Running,
        found: Running,
        rows: Tensor,
        due: Tensor,
        worse: Tensor,
        samples: int,
        upto: int,
    ) -> Running:
        """Linearize some records where a few damped steps from their candidates lead."""
        z, second, weight = (
            found.point.clone(),
            found.point.clone(),
            torch.zeros(len(due), dtype=torch.float64),
        )
        for many in (True, False):
            chosen = rows[due[rows] == many]
            if chosen.numel():
                # Where the new linearization is worse, a shorter step leads there from the old one.
                begin = torch.where(worse.unsqueeze(1), state.point, found.point)
                candidates = self._candidates(begin, chosen, samples, many=many)
                part = self.problem.select(chosen)
                level = state.belief.log_level[chosen]
                reached, objective = settle(part, self.prior, candidates, samples, level)
                best, other, share = _two_best(reached, objective, found.belief.covariance[chosen])
                z[chosen], second[chosen], weight[chosen] = best, other, share
        again = self._linearized(state, z[rows], rows, samples, upto)
        found = found.replaced(rows, again)
        tries = state.tries + due
        return self._ambiguous(replace(found, tries=tries), second - z, weight)

    def _candidates(self, begin: Tensor, rows: Tensor, samples: int, *, many: bool) -> Tensor:
        found = [begin[rows]]
        if self.start is not None and many:
            # A trained model is no better than the record itself, once that is long.
            given = self.start(rows, samples)
            found.append(torch.where(given.isfinite(), given, begin[rows]))
        elif many:
            # Others at every mark, so that a wrong optimum is left at last.
            part = self.problem.select(rows)
            found.extend(prior_points(part, self.prior, samples, seed=samples))
        return torch.stack(found)

    def _ambiguous(self, state: Running, away: Tensor, weight: Tensor) -> Running:
        """Widen the spread of records that have another optimum, by its weight (N,)."""
        rows = (weight > _WEIGHT).nonzero()[:, 0]
        status = torch.where(weight > _WEIGHT, state.status | 2, state.status & ~2)
        state = replace(state, status=status)
        if not rows.numel():
            return state
        share = (weight / (1.0 + weight))[rows, None, None]
        apart = away[rows]
        excess = share * apart.unsqueeze(2) * apart.unsqueeze(1)
        covariance = state.belief.covariance[rows]
        correction = state.correction.of(rows, covariance, torch.zeros_like(apart), excess)
        return replace(state, correction=correction)

    def _patterned(self, state: Running, samples: int) -> Running:
        """Mark records whose residuals resemble their neighbors: at a wrong optimum or model.

        At the next mark other candidates are tried for such records.
        """
        every = torch.arange(len(self.problem))
        found = pattern_of(self.linearizer.residuals_at(every, samples, state.belief.delta))
        alike = found.alike.any(dim=1)
        if self.recurrence.kind != "known":
            # Residuals of known levels are in units of these, and not of the data.
            alike &= ~found.negligible(state.size / found.count.clamp_min(1))
        return replace(state, status=torch.where(alike, state.status | 8, state.status & ~8))

    def _bent(self, state: Running, values: Tensor, samples: int) -> Running:
        """Replace the normal approximation of records whose posterior is bent."""
        enough = values >= 2 * state.point.shape[1]
        rows = (enough & (state.status & 2 == 0)).nonzero()[:, 0]
        if not rows.numel():
            return state
        part, mine = self.problem.select(rows), state.select(rows)
        chosen, v, step = bent(part, self.prior, mine, samples)
        rows = rows[chosen]
        if not rows.numel():
            return state
        mine = state.select(rows)
        optimum = mine.point + mine.belief.delta
        covariance, level = mine.belief.covariance, mine.belief.log_level
        part = self.problem.select(rows)
        mean, spread, fine = ridge_moments(part, self.prior, optimum, (v, step), level, samples)
        rows, shift, excess = rows[fine], (mean - optimum)[fine], (spread - covariance)[fine]
        correction = state.correction.of(rows, covariance[fine], shift, excess)
        return replace(state, correction=correction)


def in_doubt(state: Running) -> Tensor:
    """Return which records (N,) are to be linearized anew before the next mark.

    Some window of theirs is improbable, or the estimate has run away from the linearization point.
    """
    far = state.belief.decrement > STALE * state.point.shape[1]
    return state.innovations.suspect | far


def tested(recurrence: Recurrence, state: Running) -> Running:
    """Return a new linearization with alarms where its sums of squares are improbable."""
    belief = state.belief
    innovations = state.innovations.relinearized(
        belief.squares, belief.log_level, belief.freedom, recurrence.fewest
    )
    return replace(state, innovations=innovations)


def _judged(found: Running, before: Running, *, lost: Tensor) -> Running:
    """Set the bits of records that could not be integrated, or whose estimate has jumped."""
    step = found.point + found.belief.delta - before.point - before.belief.delta
    precision = torch.linalg.inv_ex(before.belief.covariance)[0]
    length = ((precision @ step.unsqueeze(2)).squeeze(2) * step).sum(dim=1)
    # The square of a step by new information alone is about D squared standard deviations at most.
    jumped = length > _JUMP**2 * step.shape[1]
    status = found.status & ~5
    return replace(found, status=status | lost.long() | 4 * jumped.long())


def _two_best(
    reached: Tensor, objective: Tensor, covariance: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best optimum (N, D), the best that differs from it, and its weight (N,).

    Args:
        reached: (C, N, D), where the candidates ended.
        objective: (C, N), minus their log posteriors.
        covariance: (N, D, D), of the unknowns.
    """
    every = torch.arange(reached.shape[1])
    best = objective.argmin(dim=0)
    away = reached - reached[best, every]
    precision = torch.linalg.inv_ex(covariance)[0]
    distance = ((away.unsqueeze(2) @ precision).squeeze(2) * away).sum(dim=2)
    others = torch.where(distance > _APART**2, objective, torch.inf)
    second = others.argmin(dim=0)
    gap = others[second, every] - objective[best, every]
    return reached[best, every], reached[second, every], (-gap).exp().nan_to_num(0.0)
