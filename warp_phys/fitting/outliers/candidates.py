"""The values that are suspected to be gross outliers, and the records without them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.fitting.outliers.significance import (
    freedom_of,
    least_tail,
    squares_of,
    tail_probability,
)
from warp_phys.likelihood.problem import FitProblem

# Tail probability of the largest residual below which a record is fitted again without it.
SUSPECT = 2e-3
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


@dataclass(frozen=True)
class Suspects:
    """The values with the largest residuals of some trajectories, the most improbable first.

    Attributes:
        rows: (M,), the trajectories in which the first one is less probable than `SUSPECT`.
        place: (M, K), sample times the number of outputs, plus output.
        chance: (M, K), how probable residuals as large are, times the number of values.
    """

    rows: Tensor
    place: Tensor
    chance: Tensor


def suspects_of(problem: FitProblem, scaled: Tensor, usable: Tensor) -> Suspects:
    """Return the values whose residuals are too large for noise.

    Args:
        problem: The problem that was fitted.
        scaled: (N, T, O), residuals over the known levels, or as they are.
        usable: (N,), which fits are judged.
    """
    known = scaled.isfinite()
    # In one output, the larger of two residuals is the less probable one.
    square, sample = _largest(torch.where(known, scaled.square(), -1.0))
    freedom = (freedom_of(problem, known) - 1.0).unsqueeze(1).expand_as(square)
    rest = squares_of(problem, scaled).unsqueeze(1) - square
    total = known.flatten(1).sum(dim=1).double().view(-1, 1, 1).expand_as(square)
    there = square >= 0.0
    # Nearly all records are excluded without the F distribution.
    least = torch.where(there, total * least_tail(problem, square, rest, freedom), torch.inf)
    rows = (usable & (least.flatten(1).amin(dim=1) < SUSPECT)).nonzero()[:, 0]
    tail = tail_probability(problem, square[rows], rest[rows], freedom[rows], 1)
    chance = torch.where(there[rows], total[rows] * tail, torch.inf).flatten(1)
    outputs = scaled.shape[2]
    place = (sample[rows] * outputs + torch.arange(outputs)).flatten(1)
    # Of equally improbable ones, as those far beyond all floating point numbers, the larger first.
    order = square[rows].flatten(1).argsort(dim=1, descending=True, stable=True)
    order = order.gather(1, chance.gather(1, order).argsort(dim=1, stable=True))
    chance, place = chance.gather(1, order), place.gather(1, order)
    found = chance[:, 0] < SUSPECT
    return Suspects(rows[found], place[found], chance[found])


def _largest(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the `MOST` largest values (N, k, O) over the samples of (N, T, O), and where."""
    # Two maxima take a fifth of the time of `topk`.
    found = [values.max(dim=1, keepdim=True)]
    while len(found) < min(MOST, values.shape[1]):
        values = values.scatter(1, found[-1].indices, -1.0)
        found.append(values.max(dim=1, keepdim=True))
    return (
        torch.cat([part.values for part in found], dim=1),
        torch.cat([part.indices for part in found], dim=1),
    )


def choose_trials(problem: FitProblem, scaled: Tensor, usable: Tensor) -> Trials:
    """Choose the fits that are repeated without one or two values.

    Args:
        problem: The problem that was fitted.
        scaled: (N, T, O), residuals over the known levels, or as they are.
        usable: (N,), which fits are judged.
    """
    shape = scaled.shape
    suspects = suspects_of(problem, scaled, usable)
    rows, places = suspects.rows, suspects.place
    # The second largest residual may hide behind the largest: both are left out, too.
    most = min(MOST, places.shape[1])
    sets = [(rows, places[:, : count + 1]) for count in range(most)]
    # A value at an end of the record may pull the fit all the way: the other values give it away.
    stray, place = _strays(problem)
    alone = usable & (stray > _STRAY)
    alone[rows] &= place[rows] != places[:, 0]
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
    count, length, _ = values.shape
    ratio, place = values.new_zeros(count), torch.zeros(count, dtype=torch.int64)
    if length < _FEWEST:
        return ratio, place
    known = values.isfinite()
    high = torch.where(known, values, -torch.inf).amax(dim=1)
    low = torch.where(known, values, torch.inf).amin(dim=1)
    mean = torch.where(known, values, 0.0).sum(dim=1) / known.sum(dim=1)
    # Where one of n values lies more than s ranges of the others beyond them, its distance from the
    # mean is at least (n - 1) / n s / (s + 1) of the range of all. Nearly all records show here
    # that none of theirs does; with a margin for rounding.
    share = torch.maximum(high - mean, mean - low) / (high - low)
    needed = (1.0 - 1.0 / known.sum(dim=1)) * _STRAY / (_STRAY + 1.0)
    rows = (share > 0.999 * needed).any(dim=1).nonzero()[:, 0]
    ratio[rows], place[rows] = _beyond(values[rows])
    return ratio, place


def _beyond(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same as `_strays` for values (n, T, O)."""
    outputs = values.shape[2]
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
