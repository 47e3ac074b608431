"""Multi-start search for the global optimum, in rounds of starts that all groups of a block share.

Every round fits some starts in stages with coarse integration (`stages.py`), and its best fit, if
it is better than what was known, at full tolerance. Without a number of starts given, a group
leaves the search when its best optimum has been met often enough.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.fitting.coarse_problem import EXACT_STEPS, bounded
from warp_phys.fitting.likelihood_fit import maximize_likelihood
from warp_phys.fitting.optima import count_optima, level
from warp_phys.fitting.reached import Reached
from warp_phys.fitting.setting import LANES, setting_of
from warp_phys.fitting.settle_level import settle_level
from warp_phys.fitting.solved import Solved, better, evaluated, merge
from warp_phys.fitting.stages import coarse_objectives, fit_in_stages
from warp_phys.fitting.starts import informed_starts, spread_out
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.groups import pooled, values_of
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.levenberg_marquardt import minimize
from warp_phys.minimizing.objective import Minimizer
from warp_phys.minimizing.optimum import Options, Outcome

# Starts of each round where their number is not given: 100 in all.
_ROUNDS = (5, 5, 10, 20, 30, 30)
# How often the best optimum must be met; how often where its fit has not converged, and where its
# residuals do not look like noise: then it may be a local one that attracts most starts.
_OFTEN, _OFTEN_IF_FAILED, _OFTEN_IF_WRONG = 2, 4, 10
# Nats per value by which a coarse fit must be better to be fitted at full tolerance.
_MARGIN = 1e-5
# Rounds of fresh starts for those that could not be integrated, where their number is given.
_REPLACEMENTS = 3


def blocks_of(problem: FitProblem, starts: int | None) -> list[Tensor]:
    """Return the trajectories (n,) of each block; a group stays whole."""
    # Trajectories that share unknowns form one system of equations and cannot be split. A group
    # larger than a block therefore makes a block of its own.
    size = max(1, LANES // min(starts or _ROUNDS[0], _ROUNDS[0]))
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


def run_block(
    problem: FitProblem, given: Tensor | None, starts: int | None, options: Options
) -> Solved:
    """Fit a block of trajectories.

    Args:
        problem: N trajectories.
        given: (N, D), where the caller starts the fit, or None.
        starts: How many starts to fit; None for as many as the best optimum needs.
        options: Options of the fit.
    """
    # All starts are compared by least squares, whose noise level is eliminated exactly. Other
    # likelihoods (Huber's loss, counts, censored values) then continue from that optimum, with
    # their own noise.
    if given is not None:
        given = given[:, ~problem.unknowns.noisy]
    best = _Search(problem.squared(), given, options).run(starts)
    return best if problem.is_squared else with_own_noise(problem, best, options)


def with_own_noise(problem: FitProblem, solved: Solved, options: Options) -> Solved:
    """Return fits of the likelihood of a problem from those of its least squares."""
    continued = maximize_likelihood if problem.is_whole else settle_level
    return continued(problem, solved, options)


class _Search:
    """The state of a search in G groups of N trajectories."""

    def __init__(self, problem: FitProblem, given: Tensor | None, options: Options) -> None:
        self.problem, self.given, self.options = problem, given, options
        self.groups = int(problem.group.max()) + 1
        self.values = values_of(problem)
        self.rounds = 0
        nothing = torch.zeros(0, self.groups)
        self.reached = Reached(
            torch.zeros(0, len(problem), len(problem.unknowns), dtype=torch.float64),
            nothing.double(),
            nothing.bool(),
        )
        self.iterations = nothing.long()
        self.best: Solved | None = None
        self.searching = torch.ones(self.groups, dtype=torch.bool)
        # Coarse objective of the best fit at full tolerance.
        self.lowest = torch.full((self.groups,), torch.inf, dtype=torch.float64)

    def run(self, starts: int | None) -> Solved:
        """Search, and return the best fit of every group."""
        if self.given is not None:
            self._fit_given(self.given, compared=starts is not None)
        if starts is None:
            self._until_met()
        else:
            self._exactly(starts)
        assert self.best is not None
        agreeing, optima = count_optima(self.problem, self.reached, self.best)
        group = self.problem.group
        return replace(
            self.best,
            tried=self.reached.counted[group],
            agreeing=agreeing[group],
            optima=optima[group],
        )

    def _until_met(self) -> None:
        """Try starts until the best optimum of each group has been met often enough."""
        for count in _ROUNDS:
            if self.best is not None:
                # A group that has left the search never returns: its rounds must not depend on how
                # long the other groups of its batch search.
                self.searching = self.searching & self._doubtful()
                if not bool(self.searching.any()) or self.options.out_of_time():
                    break
            self._try(count, self.searching.expand(count, -1))

    def _exactly(self, starts: int) -> None:
        """Try a number of starts, and fresh ones instead of those that cannot be integrated."""
        for _ in range(1 + _REPLACEMENTS):
            missing = starts - self.reached.counted
            if not bool((missing > 0).any()):
                break
            if self.rounds and self.options.out_of_time():
                break
            # As many points are drawn whatever is missing, so that no group depends on the others.
            self._try(starts, torch.arange(starts).unsqueeze(1) < missing)

    def _doubtful(self) -> Tensor:
        """Return (G,): which groups have not met their best optimum often enough."""
        assert self.best is not None
        wrong = pooled(self.problem, self.best.wrong.double()) > 0.0
        failed = pooled(self.problem, (self.best.outcome != Outcome.CONVERGED).double()) > 0.0
        # The objective alone judges what was met: an equally good optimum ends the search, too.
        met = level(self.problem, self.reached.objective).sum(dim=0)
        if bool(wrong.any()):
            # Not where little is explained: all that explains nothing is equally good.
            agreeing, _ = count_optima(self.problem, self.reached, self.best)
            met = torch.where(wrong, agreeing, met)
        enough = _OFTEN if self.given is None or self.rounds else 1
        often = torch.where(failed, _OFTEN_IF_FAILED, enough)
        return met < torch.where(wrong, _OFTEN_IF_WRONG, often)

    def _fit_given(self, given: Tensor, *, compared: bool) -> None:
        """Fit whole records at full tolerance from where the caller starts the fit.

        Args:
            given: (N, D), where the caller starts the fit.
            compared: Whether all groups will be fitted from other starts, too.
        """
        hard = torch.zeros(len(self.problem), dtype=torch.bool)
        self.best = _exact(self.problem, given, hard, self.options)
        failed = pooled(self.problem, (self.best.outcome != Outcome.CONVERGED).double()) > 0.0
        wrong = pooled(self.problem, self.best.wrong.double()) > 0.0
        # A fit that nothing is compared with needs no coarse objective.
        self.lowest = torch.zeros_like(self.lowest)
        self._compare(failed | wrong | compared)
        self.reached = Reached(
            self.best.z.unsqueeze(0), self.lowest.unsqueeze(0), ~failed.unsqueeze(0)
        )
        self.iterations = torch.zeros(1, self.groups, dtype=torch.int64)

    def _try(self, count: int, use: Tensor) -> None:
        """Fit a round of starts in stages, those of `use` (K, G), and refine the best ones."""
        group, active = self.problem.group, use.any(dim=0)
        rows = active[group].nonzero()[:, 0]
        part = self.problem.select(rows)
        starts = spread_out(part, self.rounds, count)
        if not self.rounds:
            given = None if self.given is None else self.given[rows]
            starts = informed_starts(part, given).followed_by(starts, count)
        self.rounds += 1
        reached, iterations = fit_in_stages(part, starts, use[:, active], self.options)
        self.reached = self.reached.joined(reached.spread(rows, active, len(group)))
        counts = torch.zeros(use.shape, dtype=torch.int64)
        counts[:, active] = iterations
        self.iterations = torch.cat([self.iterations, counts])
        lowest = self.reached.objective.amin(dim=0)
        better = active & (lowest < self.lowest - _MARGIN * self.values)
        if self.best is None:
            better = torch.ones_like(better)
        if bool(better.any()):
            self._refine(better)

    def _refine(self, chosen: Tensor) -> None:
        """Fit the best start of some groups (G,) at full tolerance."""
        group = self.problem.group
        rows = chosen[group].nonzero()[:, 0]
        part, pick = self.problem.select(rows), self.reached.best[group[rows]]
        easy = self.reached.objective.amin(dim=0).isfinite()[group[rows]]
        # Only the first fit of a group advances the progress bar.
        options = self.options if self.best is None else self.options.quiet()
        found = _exact(part, self.reached.z[pick, rows], easy, options)
        found = replace(found, iterations=found.iterations + self.iterations[pick, group[rows]])
        # All groups are refined in the first round.
        self.best = found if self.best is None else better(self.problem, self.best, found, rows)
        self._compare(chosen)

    def _compare(self, chosen: Tensor) -> None:
        """Recompute the objective of the best fits of some groups (G,) with coarse integration."""
        assert self.best is not None
        if bool(chosen.any()):
            found = coarse_objectives(self.problem, self.best.z.unsqueeze(0), chosen.unsqueeze(0))
            self.lowest = torch.where(chosen, found[0], self.lowest)


def _exact(problem: FitProblem, z: Tensor, easy: Tensor, options: Options) -> Solved:
    """Fit whole records from z (N, D) at full tolerance.

    Args:
        problem: The problem.
        z: Coordinates.
        easy: (N,), whether coarse integration took few steps there.
        options: Options of the search.
    """
    few = bounded(problem, EXACT_STEPS)
    found = _minimum(few, z, options)
    # A start that takes more steps than that, as stiff ones do, gets as many as the problem allows.
    lost = (found.outcome == Outcome.DIVERGED) & (found.iterations == 0) & ~easy
    groups = torch.zeros(int(problem.group.max()) + 1, dtype=torch.bool)
    groups[problem.group[lost]] = True
    rows = groups[problem.group].nonzero()[:, 0]
    if few.max_steps == problem.max_steps or rows.numel() == 0 or options.out_of_time():
        return found
    again = _minimum(problem.select(rows), z[rows], options.quiet())
    return merge(found, again, rows, torch.ones(len(rows), dtype=torch.bool))


def _minimum(problem: FitProblem, z: Tensor, options: Options) -> Solved:
    setting = setting_of(problem)
    engine = build_engine(problem, setting.rows, problem.counts)
    minimizer = Minimizer(engine, problem.unknowns, setting.rows, setting.group, setting.levels)
    optimum = minimize(minimizer, z, options)
    nothing = torch.zeros(len(problem), dtype=torch.int64)
    return evaluated(
        problem,
        z=optimum.z,
        outcome=optimum.outcome[problem.group],
        iterations=optimum.iterations[problem.group],
        frozen=optimum.frozen,
        excluded=optimum.excluded,
        found=(nothing, nothing, nothing),
        engine=engine,
    )
