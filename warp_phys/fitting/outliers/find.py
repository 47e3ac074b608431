"""The gross outliers of fits, confirmed by fits of all other values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from scipy.special import comb
from torch import Tensor

from warp_phys.fitting.outliers.candidates import (
    MOST,
    Trials,
    choose_trials,
    suspects_of,
    without_values,
)
from warp_phys.fitting.outliers.significance import (
    freedom_of,
    gain_of,
    scaled_residuals,
    squares_of,
    tail_probability,
)
from warp_phys.fitting.setting import setting_of
from warp_phys.fitting.solved import Solved, better, evaluated
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.groups import pooled
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.starting_points import middle_start
from warp_phys.minimizing.levenberg_marquardt import minimize
from warp_phys.minimizing.objective import Minimizer
from warp_phys.minimizing.optimum import Options, Outcome

# Probability that noise alone raises a flag, for a linear model with normal noise; in nonlinear
# models fits of few values find more than their share by leaving one out.
_BY_CHANCE = 5e-6
# Relative step and iterations at which the fits without values end.
_TOLERANCE, _ITERATIONS = 1e-4, 40
# Standard deviations of the autocorrelation of the other values' residuals, and how many of them
# for each unknown, from which on their fit is tried from another start, too.
_ALIKE, _MANY = 2.0, 5


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


def find_outliers(problem: FitProblem, solved: Solved, options: Options) -> Outliers:
    """Return the gross outliers of fits that converged, with the loss of normal noise.

    Other losses expect outliers. Where trajectories share unknowns, each is judged by its residuals
    from the joint fit.
    """
    outliers = Outliers.none(len(problem))
    if not problem.is_squared or options.out_of_time():
        return outliers
    scaled = scaled_residuals(problem, solved.predicted)
    usable = (solved.outcome == Outcome.CONVERGED) & ~solved.exact
    if problem.unknowns.shared:
        return _of_residuals(problem, scaled, usable, solved.predicted)
    trials = choose_trials(problem, scaled, usable)
    if trials.rows.numel() == 0:
        return outliers
    part = without_values(_repeated(problem, trials.rows), trials.deleted)
    again = _refitted(part, solved.z[trials.rows], options)
    # The optimum found may be one that only the outlier made good.
    rows = _doubtful(part, again).nonzero()[:, 0]
    if rows.numel() and not options.out_of_time():
        fresh = part.select(rows)
        again = better(part, again, _refitted(fresh, middle_start(fresh), options), rows)
    return _judged(problem, outliers, trials, scaled, part, again)


def _repeated(problem: FitProblem, rows: Tensor) -> FitProblem:
    """Return the problem of trajectories of which some come more than once, each on its own."""
    return replace(problem.select(rows), group=torch.arange(len(rows)))


def _refitted(problem: FitProblem, z: Tensor, options: Options) -> Solved:
    """Return the fits from starts (M, D), after some iterations.

    Wherever they stop, the least sum of squares is no larger than there, so that a fit that has not
    converged hides an outlier but makes none.
    """
    setting = setting_of(problem)
    engine = build_engine(problem, setting.rows, problem.counts)
    minimizer = Minimizer(engine, problem.unknowns, setting.rows, setting.group, setting.levels)
    rough = replace(options.quiet(), tolerance=_TOLERANCE, max_iterations=_ITERATIONS)
    optimum = minimize(minimizer, z, rough)
    nothing = torch.zeros(len(problem), dtype=torch.int64)
    return evaluated(
        problem,
        z=optimum.z,
        outcome=optimum.outcome,
        iterations=optimum.iterations,
        frozen=optimum.frozen,
        excluded=optimum.excluded,
        found=(nothing, nothing, nothing),
        engine=engine,
    )


def _doubtful(problem: FitProblem, again: Solved) -> Tensor:
    """Return (M,): the fits without some values that may have a better optimum elsewhere.

    Where the residuals of many values are like noise, there is none that is better by more than
    noise.
    """
    pairs = problem.records.seen.sum(dim=1)
    alike = (again.correlation * pairs.sqrt()).nan_to_num(torch.inf) > _ALIKE
    few = pairs.sum(dim=1) < _MANY * len(problem.unknowns)
    return again.wrong | alike.any(dim=1) | few | (again.outcome == Outcome.DIVERGED)


def _judged(
    problem: FitProblem,
    outliers: Outliers,
    trials: Trials,
    scaled: Tensor,
    part: FitProblem,
    again: Solved,
) -> Outliers:
    """Return the outliers that the fits without them confirm.

    Args:
        problem: The problem of N trajectories.
        outliers: Those of N trajectories, to be overwritten.
        trials: M fits without some values.
        scaled: (N, T, O), residuals of the fits of all values.
        part: The problem of the trials.
        again: Their fits.
    """
    rows, every = trials.rows, torch.arange(len(trials.rows))
    # The distances of the values left out, from the fits of the others.
    distance = scaled_residuals(_repeated(problem, rows), again.predicted).abs()
    distance = distance.masked_fill(~trials.deleted, -torch.inf)
    farthest = distance.flatten(1).nan_to_num(-torch.inf).argmax(dim=1)
    sample, output = farthest // scaled.shape[2], farthest % scaled.shape[2]
    significance, level = _significance(trials, scaled[rows], part, again, output)
    sound = (again.outcome != Outcome.DIVERGED) & (significance < _BY_CHANCE)
    # Of several trials of a trajectory, the last written is that of the smallest probability.
    order = significance.argsort(descending=True, stable=True)
    order = order[sound[order]]
    outliers.found[rows[order]] = True
    outliers.sample[rows[order]] = sample[order]
    outliers.output[rows[order]] = output[order]
    outliers.predicted[rows[order]] = again.predicted[order, sample[order], output[order]]
    size = distance[every, sample, output] / level
    outliers.distance[rows[order]] = size[order]
    return outliers


def _significance(
    trials: Trials, scaled: Tensor, part: FitProblem, again: Solved, output: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the tail probabilities (M,) of what was left out, and the levels (M,) of the others.

    Args:
        trials: M fits without some values.
        scaled: (M, T, O), residuals of the fits of all values.
        part: The problem of the trials.
        again: Their fits.
        output: (M,), the output of the value in question.
    """
    every = torch.arange(len(output))
    left_out = trials.deleted.sum(dim=(1, 2))
    after = squares_of(part, scaled_residuals(part, again.predicted))
    gain = gain_of(part, squares_of(part, scaled), after, scaled, output)
    rest = after[every, output]
    known = scaled.isfinite()
    freedom = (freedom_of(part, known)[every, output] - left_out).clamp_min(0.0)
    total = known.sum(dim=(1, 2)).double()
    significance = torch.ones_like(total)
    for count in range(1, MOST + 1):
        of = left_out == count
        tail = tail_probability(part, gain[of], rest[of], freedom[of], count)
        significance[of] = tail * torch.from_numpy(comb(total[of].numpy(), count))
    level = (rest / freedom.clamp_min(1.0)).sqrt()
    return significance, level.clamp_min(1.0) if part.noise == "known" else level


def _of_residuals(
    problem: FitProblem, scaled: Tensor, usable: Tensor, predicted: Tensor
) -> Outliers:
    """Return the outliers among residuals from a joint fit, which no value alone can move far."""
    outliers = Outliers.none(len(problem))
    suspects = suspects_of(problem, scaled, usable)
    # Any of the values of the group might have stood out.
    members = pooled(problem, torch.ones(len(problem), dtype=torch.float64))[problem.group]
    rare = suspects.chance[:, 0] * members[suspects.rows] < _BY_CHANCE
    rows, place = suspects.rows[rare], suspects.place[rare, 0]
    sample, output = place // scaled.shape[2], place % scaled.shape[2]
    size = scaled[rows, sample, output].abs()
    freedom = (freedom_of(problem, scaled.isfinite()) - 1.0)[rows, output]
    rest = squares_of(problem, scaled)[rows, output] - size.square()
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
