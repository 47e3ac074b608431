"""Fits of a block of trajectories: evaluate them, and merge two attempts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.fitting.setting import setting_of
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.engines.engine import Engine, Sums
from warp_phys.likelihood.groups import pooled, values_of
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.residual_checks import check_residuals
from warp_phys.minimizing.objective import Minimizer
from warp_phys.minimizing.optimum import Outcome

# Two optima count as the same if their objectives differ by less than this, in nats per value.
_SAME = 1e-5


@dataclass(frozen=True)
class Solved:
    """Fits of N trajectories.

    Attributes:
        z: (N, D), coordinates of the unknowns.
        outcome: (N,), values of `Outcome`.
        iterations: (N,), of the best start.
        frozen: (N, D), unknowns that reached the end of their support.
        sums: Sums over whole records at the optimum.
        predicted: (N, T, O).
        correlation: (N, O), see `ResidualCheck`, as for the next three.
        patterned: (N,).
        exact: (N,).
        wrong: (N,).
        variance: (N, O), squared level of a loss that is not squared; otherwise NaN.
        tried: (N,), how many starts were fitted.
        agreeing: (N,), how many of them reached the best optimum.
        optima: (N,), how many different optima they reached.
    """

    z: Tensor
    outcome: Tensor
    iterations: Tensor
    frozen: Tensor
    sums: Sums
    predicted: Tensor
    correlation: Tensor
    patterned: Tensor
    exact: Tensor
    wrong: Tensor
    variance: Tensor
    tried: Tensor
    agreeing: Tensor
    optima: Tensor

    def select(self, rows: Tensor) -> Solved:
        """Return the fits of some trajectories."""
        sums = Sums(**{name: value[rows] for name, value in vars(self.sums).items()})
        plain = {name: value[rows] for name, value in vars(self).items() if name != "sums"}
        return Solved(sums=sums, **plain)


def evaluated(
    problem: FitProblem,
    *,
    z: Tensor,
    outcome: Tensor,
    iterations: Tensor,
    frozen: Tensor,
    excluded: Tensor,
    found: tuple[Tensor, Tensor, Tensor],
    precision: Tensor | None = None,
    engine: Engine | None = None,
) -> Solved:
    """Evaluate all trajectories at their coordinates, at a level where the loss is not squared.

    The engine of a minimization knows the steps that it took there; without it they are chosen
    again.
    """
    if problem.is_squared:
        precision = None  # squares keep the units of the data
    sums, predicted = evaluate_at(problem, z, precision, engine)
    outcome = torch.where(excluded | (sums.status != 0), int(Outcome.DIVERGED), outcome)
    return Solved(
        z=z,
        outcome=outcome,
        iterations=iterations,
        frozen=frozen,
        sums=sums,
        predicted=predicted,
        **vars(check_residuals(problem, predicted, z)),
        variance=torch.full_like(sums.squares, torch.nan),
        tried=found[0],
        agreeing=found[1],
        optima=found[2],
    )


def evaluate_at(
    problem: FitProblem,
    z: Tensor,
    precision: Tensor | None = None,
    engine: Engine | None = None,
) -> tuple[Sums, Tensor]:
    """Return the sums and the predictions (N, T, O) at coordinates z (N, D).

    Args:
        problem: The problem to evaluate.
        z: (N, D).
        precision: (N, O), one over the squared level of the noise; None for 1.
        engine: An engine of the trajectories in order; None for a new one.
    """
    setting = setting_of(problem)
    engine = engine or build_engine(problem, setting.rows, problem.counts)
    minimizer = Minimizer(
        engine, problem.unknowns, setting.rows, setting.group, setting.levels, precision
    )
    predicted = torch.full(problem.records.observed.shape, torch.nan, dtype=torch.float64)
    minimizer.evaluate(z, setting.rows, predicted=predicted)
    return minimizer.sums, predicted


def better(problem: FitProblem, first: Solved, second: Solved, rows: Tensor) -> Solved:
    """Replace fits of some rows by the second ones, where those are better or the first failed."""
    part = problem.select(rows)
    levels = setting_of(part).levels
    every = torch.arange(len(rows))

    def objective(sums: Sums, chosen: Tensor) -> Tensor:
        squares, counted = pooled(part, sums.squares[chosen]), pooled(part, sums.counted[chosen])
        reached = levels.objective(squares, counted)
        return torch.where(reached.isnan(), torch.inf, reached)

    before, after = objective(first.sums, rows), objective(second.sums, every)
    values = values_of(part)
    # A fit replaces another only if it is better by more than the tolerance of equality: without
    # that margin the choice would depend on rounding.
    lower = (after < before - _SAME * values)[part.group]
    failed = (first.outcome[rows] != Outcome.CONVERGED) & (second.outcome == Outcome.CONVERGED)
    same = (after <= before + _SAME * values)[part.group]
    take = lower | (failed & same)
    return merge(first, second, rows[take], take)


def merge(first: Solved, second: Solved, into: Tensor, take: Tensor) -> Solved:
    """Overwrite rows `into` of the first fits by the taken rows of the second."""

    def mixed(a: Tensor, b: Tensor) -> Tensor:
        out = a.clone()
        out[into] = b[take]
        return out

    sums = Sums(**{k: mixed(v, getattr(second.sums, k)) for k, v in vars(first.sums).items()})
    plain = {
        name: mixed(getattr(first, name), getattr(second, name))
        for name in vars(first)
        if name != "sums"
    }
    return Solved(sums=sums, **plain)
