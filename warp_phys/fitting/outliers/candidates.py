"""The values that are suspected to be gross outliers, and the records without them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.fitting.outliers.significance import (
    freedom_of,
    squares_of,
    tail_probability,
    variance_ratio,
)
from warp_phys.likelihood.problem import FitProblem

# Tail probability of the largest residual below which a record is fitted again without it. With a
# level from the other values, residuals below so many standard deviations are never that rare.
_SUSPECT, _COMMON = 2e-3, 2.0
# A value is looked at, too, if it lies so many times the range of all others beyond them, of which
# there must be some.
_STRAY, _FEWEST = 2.0, 4
# How many values are left out at once, at most.
MOST = 2


@dataclass(frozen=True)
class Trials:
    """Fits without some values.

    Attributes:
        rows: (M,), the trajectory of each.
        deleted: (M, T, O), the values that are left out.
    """

    rows: Tensor
    deleted: Tensor


def suspicion(problem: FitProblem, scaled: Tensor) -> Tensor:
    """Return (N, T, O) how probable residuals as large as each are, times their number."""
    known = scaled.isfinite()
    freedom = (freedom_of(problem, known) - 1.0).unsqueeze(1).expand_as(scaled)
    square = scaled.square().nan_to_num(0.0)
    rest = squares_of(problem, scaled).unsqueeze(1) - square
    total = known.sum(dim=(1, 2)).view(-1, 1, 1).expand_as(scaled)
    ratio = variance_ratio(problem, square, rest, freedom, 1)
    # Common residuals, nearly all of them, are put in order without their tail probability.
    tail = total * (1.0 + 1.0 / (1.0 + ratio))
    rare = ratio > _COMMON**2
    tail[rare] = total[rare] * tail_probability(problem, square[rare], rest[rare], freedom[rare], 1)
    return torch.where(known, tail, torch.inf)


def choose_trials(problem: FitProblem, scaled: Tensor, usable: Tensor) -> Trials:
    """Choose the fits that are repeated without one or two values.

    Args:
        problem: The problem that was fitted.
        scaled: (N, T, O), residuals over the known levels, or as they are.
        usable: (N,), which fits are judged.
    """
    shape = scaled.shape
    chance = suspicion(problem, scaled).flatten(1)
    # The second largest residual may hide behind the largest: both are left out, too.
    most = min(MOST, chance.shape[1])
    order = chance.argsort(dim=1, stable=True)[:, :most]
    least = chance.gather(1, order[:, :1]).squeeze(1)
    rows = (usable & (least < _SUSPECT)).nonzero()[:, 0]
    sets = [(rows, order[rows, : count + 1]) for count in range(most)]
    # A value at an end of the record may pull the fit all the way: the other values give it away.
    stray, place = _strays(problem)
    alone = usable & (stray > _STRAY)
    alone &= ~((least < _SUSPECT) & (place == order[:, 0]))
    rows = alone.nonzero()[:, 0]
    sets.append((rows, place[rows].unsqueeze(1)))
    every = torch.cat([part for part, _ in sets])
    deleted = torch.zeros(len(every), shape[1] * shape[2], dtype=torch.bool)
    begin = 0
    for part, places in sets:
        deleted[begin : begin + len(part)].scatter_(1, places, value=True)
        begin += len(part)
    return Trials(every, deleted.view(-1, *shape[1:]))


def _strays(problem: FitProblem) -> tuple[Tensor, Tensor]:
    """Return how many ranges of the others a value lies beyond them, (N,), and its place."""
    values = problem.distribution.transformed(problem.records.observed)
    count, length, outputs = values.shape
    if length < _FEWEST:
        return values.new_zeros(count), torch.zeros(count, dtype=torch.int64)
    found, places = [], []
    for side in (values, -values):
        known = torch.where(side.isfinite(), side, -torch.inf)
        top = known.topk(2, dim=1)
        # The range of the others is from the second largest to the smallest.
        least = torch.where(side.isfinite(), side, torch.inf).amin(dim=1)
        first, second = top.values.unbind(1)
        found.append(((first - second) / (second - least)).nan_to_num(0.0, posinf=0.0))
        places.append(top.indices[:, 0] * outputs + torch.arange(outputs))
    ratio, place = torch.cat(found, dim=1), torch.cat(places, dim=1)
    largest = ratio.max(dim=1)
    return largest.values, place.gather(1, largest.indices.unsqueeze(1)).squeeze(1)


def without_values(problem: FitProblem, deleted: Tensor) -> FitProblem:
    """Return the problem with the values marked in (N, T, O) missing."""
    records = problem.records
    observed = records.observed.masked_fill(deleted, torch.nan)
    fine = problem.fine
    if fine is not None:
        row, sample, output = deleted.nonzero(as_tuple=True)
        spread = fine.records.observed.clone()
        spread[row, fine.place[row, sample], output] = torch.nan
        fine = replace(fine, records=replace(fine.records, observed=spread))
    return replace(problem, records=replace(records, observed=observed), fine=fine)
