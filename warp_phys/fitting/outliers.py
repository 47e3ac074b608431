r"""Gross outliers: values that a fit of all the others does not come near.

One value with a slipped unit or a sentinel such as -9999 drags a least squares fit towards itself,
so that its own residual and the scale of the others mislead. Values that stand out are left out,
and the record is fitted again. With k values left out, the sum of squares falling from Q to Q_k,

.. math::
    F = \frac{(Q - Q_k) / k}{Q_k / (n - p - k)}

has the F distribution with k and n - p - k degrees of freedom if the model is linear and the noise
normal: this is the test of a shift in the mean of these values. Any of the (n over k) choices might
have stood out, by which the tail probability is multiplied (Bonferroni).

References:
    R. D. Cook, S. Weisberg, Residuals and Influence in Regression, Chapman and Hall, 1982,
    sec. 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from scipy import stats
from scipy.special import comb
from torch import Tensor

from warp_phys.fitting.objective import pooled
from warp_phys.fitting.search import run_block
from warp_phys.fitting.solved import Solved
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.starting_points import middle_start, spread_starts
from warp_phys.minimizing.optimum import Options, Outcome

# Probability that noise alone raises a flag, for a linear model with normal noise.
_BY_CHANCE = 2e-5
# Tail probability of the largest residual below which a record is fitted again without it.
_SUSPECT = 0.05
# A value is looked at, too, if it is so many times farther from its neighbors than is usual.
_JUMP = 20.0
# How many values are left out at once, at most.
_MOST = 2
# Starts of the fits without them, besides the optimum found and the middle of the ranges.
_STARTS = 3


@dataclass(frozen=True)
class Outliers:
    """The most conspicuous gross outlier of each of N trajectories.

    Attributes:
        found: (N,), whether there is one.
        sample: (N,), its sample; -1 where there is none.
        output: (N,), its output.
        predicted: (N,), what the fit of the other values predicts for it.
        distance: (N,), its distance from that prediction in standard deviations of the noise.
    """

    found: Tensor
    sample: Tensor
    output: Tensor
    predicted: Tensor
    distance: Tensor

    @classmethod
    def none(cls, count: int) -> Outliers:
        """Return no outlier in any trajectory."""
        whole = torch.full((count,), -1)
        number = torch.full((count,), torch.nan, dtype=torch.float64)
        found = torch.zeros(count, dtype=torch.bool)
        return cls(found, whole, whole.clone(), number, number.clone())


@dataclass(frozen=True)
class _Trials:
    """Fits without some values.

    Attributes:
        rows: (M,), the trajectory of each.
        deleted: (M, T, O), the values that are left out.
    """

    rows: Tensor
    deleted: Tensor


def find_outliers(problem: FitProblem, solved: Solved, options: Options) -> Outliers:
    """Return the gross outliers of fits that converged, with the loss of normal noise.

    Other losses expect outliers. Where trajectories share unknowns, each is judged by its residuals
    from the joint fit.
    """
    outliers = Outliers.none(len(problem))
    if not problem.distribution.is_squared or options.out_of_time():
        return outliers
    scaled = _scaled(problem, solved.predicted)
    usable = (solved.outcome == Outcome.CONVERGED) & ~solved.exact
    if problem.unknowns.shared:
        return _of_residuals(problem, scaled, usable, solved.predicted)
    trials = _trials(problem, scaled, usable)
    if trials.rows.numel() == 0:
        return outliers
    part = without_values(_repeated(problem, trials.rows), trials.deleted)
    # The optimum found may be one that only the outlier made good.
    starts = [solved.z[trials.rows], middle_start(part), *spread_starts(part, _STARTS)]
    again = run_block(part, starts, options.quiet())
    return _judged(problem, outliers, trials, scaled, part, again)


def _repeated(problem: FitProblem, rows: Tensor) -> FitProblem:
    """Return the problem of trajectories of which some come more than once, each on its own."""
    return replace(problem.select(rows), group=torch.arange(len(rows)))


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


def _scaled(problem: FitProblem, predicted: Tensor) -> Tensor:
    """Return residuals (N, T, O) over the known levels, or as they are."""
    residuals = problem.residuals(predicted)
    return residuals if problem.weights is None else residuals * problem.weights.sqrt()


def _freedom(problem: FitProblem, seen: Tensor) -> Tensor:
    """Return degrees of freedom (N, O) of the scale of each output, where one value is left out.

    Outputs that have a level in common have its freedom in common, too.
    """
    counts = seen.sum(dim=1).double()
    total = counts.sum(dim=1, keepdim=True)
    unknowns = len(problem.unknowns)
    if problem.noise != "each":
        return (total - unknowns).expand_as(counts)
    return counts * (1.0 - unknowns / total.clamp_min(1.0))


def _squares(problem: FitProblem, scaled: Tensor) -> Tensor:
    """Return the sums of squares (N, O) behind the level of each output."""
    squares = scaled.square().nansum(dim=1)
    return squares if problem.noise == "each" else squares.sum(1, keepdim=True).expand_as(squares)


def _tail(
    problem: FitProblem, gain: Tensor, rest: Tensor, freedom: Tensor, left_out: int
) -> Tensor:
    """Return the tail probability of F, without Bonferroni's factor.

    Args:
        problem: The problem.
        gain: Q - Q_k.
        rest: Q_k.
        freedom: n - p - k.
        left_out: k.
    """
    variance = rest / freedom.clamp_min(1.0)
    if problem.noise == "known":
        variance = variance.clamp_min(1.0)
    ratio = (gain / left_out / variance).nan_to_num(0.0, posinf=1e300)
    tail = torch.from_numpy(stats.f.sf(ratio.numpy(), left_out, freedom.clamp_min(1.0).numpy()))
    return torch.where(freedom >= 1.0, tail, 1.0)


def _suspicion(problem: FitProblem, scaled: Tensor) -> Tensor:
    """Return (N, T, O) how probable residuals as large as each are, times their number."""
    known = scaled.isfinite()
    freedom = (_freedom(problem, known) - 1.0).unsqueeze(1).expand_as(scaled)
    square = scaled.square().nan_to_num(0.0)
    rest = _squares(problem, scaled).unsqueeze(1) - square
    total = known.sum(dim=(1, 2)).view(-1, 1, 1)
    tail = total * _tail(problem, square, rest, freedom, 1)
    return torch.where(known, tail, torch.inf)


def _trials(problem: FitProblem, scaled: Tensor, usable: Tensor) -> _Trials:
    """Choose the fits that are repeated without one or two values."""
    shape = scaled.shape
    suspicion = _suspicion(problem, scaled).flatten(1)
    # The second largest residual may hide behind the largest: both are left out, too.
    most = min(_MOST, suspicion.shape[1])
    order = suspicion.argsort(dim=1, stable=True)[:, :most]
    least = suspicion.gather(1, order[:, :1]).squeeze(1)
    rows = (usable & (least < _SUSPECT)).nonzero()[:, 0]
    sets = [(rows, order[rows, : count + 1]) for count in range(most)]
    # A value at an end of the record may pull the fit all the way: its neighbors give it away.
    jump, place = _jumps(problem)
    alone = usable & (jump > _JUMP)
    alone &= ~((least < _SUSPECT) & (place == order[:, 0]))
    rows = alone.nonzero()[:, 0]
    sets.append((rows, place[rows].unsqueeze(1)))
    every = torch.cat([part for part, _ in sets])
    deleted = torch.zeros(len(every), shape[1] * shape[2], dtype=torch.bool)
    begin = 0
    for part, places in sets:
        deleted[begin : begin + len(part)].scatter_(1, places, value=True)
        begin += len(part)
    return _Trials(every, deleted.view(-1, *shape[1:]))


def _jumps(problem: FitProblem) -> tuple[Tensor, Tensor]:
    """Return the largest distance of a value from its neighbors (N,), in medians, and its place.

    The distance is that from the nearer of the values before and after it, so that a smooth curve
    or a step has none that is many times the usual one.
    """
    values = problem.distribution.transformed(problem.records.observed)
    seen = values.isfinite()
    values = torch.where(seen, values, torch.nan)
    gap = (values[:, 1:] - values[:, :-1]).abs()
    edge = torch.full_like(values[:, :1], torch.inf)
    before, after = torch.cat([edge, gap], dim=1), torch.cat([gap, edge], dim=1)
    nearest = torch.minimum(before.nan_to_num(torch.inf), after.nan_to_num(torch.inf))
    nearest = torch.where(seen & nearest.isfinite(), nearest, torch.nan)
    usual = nearest.nanmedian(dim=1, keepdim=True).values
    ratio = torch.where(usual > 0.0, nearest / usual, torch.nan).nan_to_num(0.0).flatten(1)
    largest = ratio.max(dim=1)
    return largest.values, largest.indices


def _judged(
    problem: FitProblem,
    outliers: Outliers,
    trials: _Trials,
    scaled: Tensor,
    part: FitProblem,
    again: Solved,
) -> Outliers:
    """Return the outliers that the fits without them confirm."""
    rows, whole = trials.rows, scaled[trials.rows]
    deleted = trials.deleted.flatten(1)
    left_out = deleted.sum(dim=1)
    rest = _scaled(part, again.predicted)
    after, before = _squares(part, rest), _squares(part, whole)
    total = whole.isfinite().sum(dim=(1, 2)).double()
    # The distances of the values left out, from the fit of the others.
    distance = (
        _scaled(problem.select(rows), again.predicted)
        .abs()
        .masked_fill(~trials.deleted, -torch.inf)
    )
    farthest = distance.flatten(1).nan_to_num(-torch.inf).argmax(dim=1)
    output = farthest % scaled.shape[2]
    one = torch.arange(len(rows))
    freedom = (_freedom(part, whole.isfinite())[one, output] - left_out).clamp_min(0.0)
    # With levels of each output the likelihood compares all of them; n_o log Q_o adds up.
    gain = _gain(part, before, after, whole, output)
    significance = torch.ones_like(total)
    for count in range(1, _MOST + 1):
        chosen = left_out == count
        tail = _tail(part, gain[chosen], after[chosen, output[chosen]], freedom[chosen], count)
        choices = torch.from_numpy(comb(total[chosen].numpy(), count))
        significance[chosen] = tail * choices
    # Wherever the fit of the others stopped, their best sum of squares is no larger than there.
    sound = (again.outcome != Outcome.DIVERGED) & (significance < _BY_CHANCE)
    level = (after[one, output] / freedom.clamp_min(1.0)).sqrt()
    if part.noise == "known":
        level = level.clamp_min(1.0)
    # Of several trials of a trajectory, the last written is that of the smallest probability.
    order = significance.argsort(descending=True, stable=True)
    order = order[sound[order]]
    sample = farthest // scaled.shape[2]
    outliers.found[rows[order]] = True
    outliers.sample[rows[order]] = sample[order]
    outliers.output[rows[order]] = output[order]
    outliers.predicted[rows[order]] = again.predicted[order, sample[order], output[order]]
    size = distance[one, sample, output] / level
    outliers.distance[rows[order]] = size[order]
    return outliers


def _gain(
    problem: FitProblem, before: Tensor, after: Tensor, scaled: Tensor, output: Tensor
) -> Tensor:
    """Return by how much the sum of squares fell, that of the outlier's output.

    Where outputs have levels of their own, what the others gained or lost in likelihood counts as
    well: n_o log Q of the outlier's output falls by the sum over all outputs.
    """
    one = torch.arange(len(output))
    own, rest = before[one, output], after[one, output]
    if problem.noise != "each":
        return own - rest
    counts = scaled.isfinite().sum(dim=1).double()
    tiny = torch.finfo(torch.float64).tiny
    ratio = (before.clamp_min(tiny) / after.clamp_min(tiny)).log()
    share = (counts * ratio).sum(dim=1) / counts[one, output].clamp_min(1.0)
    return rest * share.clamp(max=600.0).expm1()


def _of_residuals(
    problem: FitProblem, scaled: Tensor, usable: Tensor, predicted: Tensor
) -> Outliers:
    """Return the outliers among residuals from a joint fit, which no value alone can move far."""
    outliers = Outliers.none(len(problem))
    suspicion = _suspicion(problem, scaled).flatten(1)
    # Any of the values of the group might have stood out.
    members = pooled(problem, torch.ones(len(problem), dtype=torch.float64))[problem.group]
    least = suspicion.min(dim=1)
    rows = (usable & (least.values * members < _BY_CHANCE)).nonzero()[:, 0]
    place = least.indices[rows]
    sample, output = place // scaled.shape[2], place % scaled.shape[2]
    size = scaled[rows, sample, output].abs()
    freedom = (_freedom(problem, scaled.isfinite()) - 1.0)[rows, output]
    rest = _squares(problem, scaled)[rows, output] - size.square()
    outliers.found[rows] = True
    outliers.sample[rows], outliers.output[rows] = sample, output
    outliers.predicted[rows] = predicted[rows, sample, output]
    outliers.distance[rows] = size / (rest / freedom).sqrt()
    return outliers


def outlier_words(problem: FitProblem, outliers: Outliers) -> list[str]:
    """Return a sentence on the outlier of each trajectory, empty where there is none."""
    records, system = problem.records, problem.system
    unit = records.time_unit or system.time_unit
    words = [""] * len(problem)
    for row in outliers.found.nonzero()[:, 0].tolist():
        sample, output = int(outliers.sample[row]), int(outliers.output[row])
        time = f"{float(records.times[row, sample]):g}" + ("" if unit in ("", "1") else f" {unit}")
        words[row] = (
            f"{records.outputs[output]} at time {time} (sample {sample}) is "
            f"{float(records.observed[row, sample, output]):.4g}, "
            f"{float(outliers.distance[row]):.3g} standard deviations from the "
            f"{float(outliers.predicted[row]):.4g} that a fit of the other values predicts"
        )
    return words
