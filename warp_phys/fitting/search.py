"""Multi-start search for the optimum, in blocks, with more starts where a fit looks wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.fitting.settle_level import settle_level
from warp_phys.fitting.solved import Setting, Solved, best_start, better, setting_of
from warp_phys.fitting.starts import shortened
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.starting_points import middle_start, spread_starts
from warp_phys.minimizing.anchor import Anchor
from warp_phys.minimizing.levenberg_marquardt import minimize
from warp_phys.minimizing.objective import Minimizer
from warp_phys.minimizing.optimum import Optimum, Options, Outcome

# Lanes in a block: this bounds the memory, and is enough to keep every core busy.
_LANES = 16_384
# Additional starts where a fit looks wrong, besides its own start and the middle.
_SECOND_LOOK = 4
# Fits of shortened records only have to lead near an optimum, not to be exact.
_ROUGH_TOLERANCE, _ROUGH_ITERATIONS, _ROUGH_RTOL, _ROUGH_STEPS = 1e-3, 12, 1e-5, 10


def blocks_of(problem: FitProblem, starts: int) -> list[Tensor]:
    """Return the trajectories (n,) of each block; a group stays whole."""
    # Trajectories that share unknowns form one system of equations and cannot be split. A group
    # larger than a block therefore makes a block of its own.
    size = max(1, _LANES // max(1, starts))
    if problem.unknowns.shared == 0:
        return list(torch.arange(len(problem)).split(size))
    order = problem.group.argsort(stable=True)
    found: list[list[Tensor]] = [[]]
    filled = 0
    counts = torch.bincount(problem.group).tolist()
    for members in order.split(counts):
        if filled and filled + len(members) > size:
            found.append([])
            filled = 0
        found[-1].append(members)
        filled += len(members)
    return [torch.cat(part) for part in found]


def run_block(problem: FitProblem, starts: Sequence[Tensor], options: Options) -> Solved:
    """Fit a block of trajectories from one or several starts (n, D) each."""
    # All starts are compared by least squares, whose noise level is eliminated exactly. Other
    # losses (Huber's, counts) then continue from that optimum, with a level of their own.
    squared = problem.squared()
    best = _best_of(squared, torch.stack(list(starts)), options)
    best = _look_again(squared, best, starts, options)
    return best if problem.distribution.is_squared else settle_level(problem, best, options)


def _best_of(problem: FitProblem, z: Tensor, options: Options) -> Solved:
    """Fit from starts (K, n, D), all but the first gradually, and return each group's best."""
    lanes = _gradually(problem, z, options)
    setting = setting_of(problem, len(z))
    optimum = _minimize(problem, setting, lanes, options, problem.counts[setting.rows])
    return best_start(problem, optimum, len(z))


def _gradually(problem: FitProblem, z: Tensor, options: Options) -> Tensor:
    """Fit roughly to longer and longer beginnings of the records, from all starts but the first.

    This is a continuation: the fit of each beginning starts the fit of the next one.

    Args:
        problem: The problem to fit.
        z: (K, n, D), the starts.
        options: Options of the search.

    Returns:
        The coordinates that the fits ended at, (K n, D).
    """
    first, later = z[0], z[1:].flatten(0, 1)
    if len(later) == 0:
        return first
    setting = setting_of(problem, len(z) - 1)
    coarse, rough = _coarse(problem), _rough(options)
    for limit in shortened(problem, setting.rows):
        # A beginning may not determine every parameter; the anchor keeps such a parameter near its
        # start, where the fit would otherwise move it arbitrarily far.
        later = _minimize(coarse, setting, later, rough, limit, anchored=True).z
    return torch.cat([first, later])


def _minimize(
    problem: FitProblem,
    setting: Setting,
    z: Tensor,
    options: Options,
    limit: Tensor,
    *,
    anchored: bool = False,
) -> Optimum:
    engine = build_engine(problem, setting.rows, limit)
    minimizer = Minimizer(engine, problem.unknowns, setting.rows, setting.group, setting.levels)
    anchor = None
    if anchored:
        # A normal prior wider than the usual range: what the data determine it hardly changes.
        anchor = Anchor(z, problem.unknowns.wide.square().reciprocal().diag())
    return minimize(minimizer, z, options, anchor=anchor)


def _look_again(
    problem: FitProblem, found: Solved, starts: Sequence[Tensor], options: Options
) -> Solved:
    """Retry suspicious fits from additional starts, on longer and longer beginnings."""
    # Points of the Sobol sequence come in order: the first ones may have been starts already, and
    # the last ones are new.
    fresh = spread_starts(problem, len(starts) + _SECOND_LOOK)[-_SECOND_LOOK:]
    if len(starts) > 1:
        return _try_also(problem, found, [middle_start(problem), *fresh], options)
    # The only start was fitted to whole records at once; it is tried again by continuation.
    found = _try_also(problem, found, [middle_start(problem), starts[0]], options)
    return _try_also(problem, found, [*fresh], options)


def _try_also(
    problem: FitProblem, found: Solved, starts: Sequence[Tensor], options: Options
) -> Solved:
    """Try more starts (n, D) where a fit looks wrong, and keep the better fit."""
    groups = torch.zeros(int(problem.group.max()) + 1, dtype=torch.bool)
    groups[problem.group[found.wrong | (found.outcome != Outcome.CONVERGED)]] = True
    rows = groups[problem.group].nonzero()[:, 0]
    if rows.numel() == 0 or options.out_of_time():
        return found
    part = problem.select(rows)
    trials = torch.stack([start[rows] for start in starts])
    setting = setting_of(part, len(trials))
    z = _gradually(part, trials, options)
    tried = _minimize(_coarse(part), setting, z, _rough(options), part.counts[setting.rows])
    chosen = best_start(part, tried, len(trials))
    # Only the best start is refined at the full tolerance.
    exact = _best_of(part, chosen.z.unsqueeze(0), options.quiet())
    second = replace(
        exact,
        tried=chosen.tried,
        agreeing=chosen.agreeing,
        optima=chosen.optima,
        iterations=chosen.iterations + exact.iterations,
    )
    return better(problem, found, second, rows)


def _coarse(problem: FitProblem) -> FitProblem:
    """Return the problem with coarser tolerances, which suffice far from the optimum.

    A trajectory that needs so many steps that it delays the others is abandoned.
    """
    length = problem.on_fine_grid().records.times.shape[1]
    return replace(
        problem,
        rtol=max(problem.rtol, _ROUGH_RTOL),
        max_steps=min(problem.max_steps, _ROUGH_STEPS * (length + 100)),
    )


def _rough(options: Options) -> Options:
    """Return options for fits that only have to come near an optimum."""
    return replace(options.quiet(), tolerance=_ROUGH_TOLERANCE, max_iterations=_ROUGH_ITERATIONS)
