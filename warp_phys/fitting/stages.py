"""Fits of many starts in stages, with coarse integration.

First the windows of each record, with initial states of their own; then longer and longer
beginnings of the record; then the whole.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.fitting.coarse_problem import coarse, coarse_levels
from warp_phys.fitting.reached import Reached
from warp_phys.fitting.setting import LANES, Setting, setting_of
from warp_phys.fitting.starts import Starts, shortened
from warp_phys.fitting.windows import (
    WINDOWS,
    can_be_cut,
    from_windows,
    is_long,
    to_windows,
    windows_of,
)
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.anchor import Anchor
from warp_phys.minimizing.levenberg_marquardt import minimize
from warp_phys.minimizing.objective import Minimizer
from warp_phys.minimizing.optimum import Optimum, Options, Outcome

# Fits of windows and beginnings only have to lead near an optimum; those of whole records have to
# tell which optimum it is.
_TOLERANCE, _BEGINNING_ITERATIONS, _ITERATIONS = 1e-3, 12, 40


def fit_in_stages(
    problem: FitProblem, starts: Starts, use: Tensor, options: Options
) -> tuple[Reached, Tensor]:
    """Return where coarse fits end, and how many iterations they took on whole records, (K, G).

    Args:
        problem: The problem, at its own tolerances.
        starts: K starts.
        use: (K, G), the groups that try each of them.
        options: Options of the search.
    """
    rough = coarse(problem)
    parts = [
        _some(rough, starts.some(some), use[some], options)
        for some in torch.arange(len(use)).split(max(1, LANES // len(problem)))
    ]
    reached = parts[0][0]
    for part, _ in parts[1:]:
        reached = reached.joined(part)
    return reached, torch.cat([iterations for _, iterations in parts])


def coarse_objectives(problem: FitProblem, z: Tensor, use: Tensor) -> Tensor:
    """Return the objective (K, G) at z (K, N, D), as coarse fits see it.

    It is infinite where the model cannot be integrated, and where `use` (K, G) leaves a group out.
    """
    rough, setting = coarse(problem), setting_of(problem, use)
    minimizer = _minimizer(rough, setting, problem.counts[setting.rows])
    lanes = torch.arange(len(setting.rows))
    minimizer.evaluate(z[setting.start, setting.rows], lanes)
    found = minimizer.levels.objective(
        *minimizer.pooled(lanes, setting.group, len(minimizer.levels))
    )
    objective = torch.full(use.shape, torch.inf, dtype=z.dtype)
    objective[use] = torch.where(found.isnan(), torch.inf, found)
    return objective


def _some(
    problem: FitProblem, starts: Starts, use: Tensor, options: Options
) -> tuple[Reached, Tensor]:
    z = starts.z.clone()
    _by_windows(problem, z, use & starts.windows.unsqueeze(1), options)
    _gradually(problem, z, use & starts.gradual.unsqueeze(1), options)
    setting = setting_of(problem, use)
    ending = replace(
        options.quiet(),
        tolerance=_TOLERANCE,
        max_iterations=min(_ITERATIONS, options.max_iterations),
    )
    lanes = z[setting.start, setting.rows]
    optimum = _minimize(problem, setting, lanes, ending, problem.counts[setting.rows])
    z[setting.start, setting.rows] = optimum.z
    objective = torch.full(use.shape, torch.inf, dtype=z.dtype)
    failed = optimum.outcome == Outcome.DIVERGED
    # Where trajectories share unknowns, a start from which one of them could not be integrated has
    # an objective of fewer values, which does not compare with that of all.
    failed[setting.group[optimum.excluded]] = True
    # Groups of a setting are in the order of the mask's entries.
    objective[use] = torch.where(failed, torch.inf, optimum.objective)
    converged = torch.zeros_like(use)
    converged[use] = optimum.outcome == Outcome.CONVERGED
    iterations = torch.zeros(use.shape, dtype=torch.int64)
    iterations[use] = optimum.iterations
    return Reached(z, objective, converged), iterations


def _by_windows(problem: FitProblem, z: Tensor, use: Tensor, options: Options) -> None:
    """Move starts z (K, N, D) by fits of the windows of their records, where those are long."""
    if not can_be_cut(problem):
        return
    use = use & is_long(problem)
    if not bool(use.any()):
        return
    windows = windows_of(problem)
    wide = to_windows(problem, windows, z)
    setting = setting_of(windows, use)
    lanes = wide[setting.start, setting.rows]
    precision = windows.unknowns.wide.square().reciprocal()
    # Each window of a record adds the penalty of the parameters that they share.
    precision[: windows.unknowns.shared] /= WINDOWS
    anchor = Anchor(lanes, precision.diag())
    limit = windows.counts[setting.rows]
    found = _minimize(windows, setting, lanes, _beginning(options), limit, anchor)
    wide[setting.start, setting.rows] = found.z
    moved = from_windows(problem, windows, wide)
    usable = use[:, problem.group].unsqueeze(2) & moved.isfinite()
    z.copy_(torch.where(usable, moved, z))


def _gradually(problem: FitProblem, z: Tensor, use: Tensor, options: Options) -> None:
    """Move starts z (K, N, D) by fits of longer and longer beginnings of the records.

    This is a continuation: the fit of each beginning starts the fit of the next one.
    """
    if not bool(use.any()):
        return
    setting = setting_of(problem, use)
    lanes = z[setting.start, setting.rows]
    for limit in shortened(problem, setting.rows):
        # A beginning may not determine every parameter; the anchor keeps such a parameter near its
        # start, where the fit would otherwise move it arbitrarily far. It is a normal prior wider
        # than the usual range: what the data determine it hardly changes.
        anchor = Anchor(lanes, problem.unknowns.wide.square().reciprocal().diag())
        lanes = _minimize(problem, setting, lanes, _beginning(options), limit, anchor).z
    z[setting.start, setting.rows] = lanes


def _beginning(options: Options) -> Options:
    return replace(options.quiet(), tolerance=_TOLERANCE, max_iterations=_BEGINNING_ITERATIONS)


def _minimize(
    problem: FitProblem,
    setting: Setting,
    lanes: Tensor,
    options: Options,
    limit: Tensor,
    anchor: Anchor | None = None,
) -> Optimum:
    return minimize(_minimizer(problem, setting, limit), lanes, options, anchor=anchor)


def _minimizer(problem: FitProblem, setting: Setting, limit: Tensor) -> Minimizer:
    engine = build_engine(problem, setting.rows, limit)
    levels = coarse_levels(setting.levels)
    return Minimizer(engine, problem.unknowns, setting.rows, setting.group, levels)
