"""Batched explicit Runge-Kutta with a step size for each trajectory.

Every trajectory has its own time, step size and error control, and nothing of one enters the
arithmetic of another: the batch only shares the calls. Trajectories that are done or have failed
leave the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from warp_phys.systems._problem import Problem, Solution, Status, difference
from warp_phys.systems._runge_kutta import Step, evaluate, interpolant, largest, take_step
from warp_phys.systems._tableaus import TABLEAUS, Tableau

_SPLIT = 32_768  # numbers from which on torch splits a call among threads
_LANES = 32  # numbers that torch's vector loops take at once, at most
# With the usual safety of 0.9 a few trajectories in a thousand slip through with errors of hundreds
# of tolerances; smaller steps cost no more time, as fewer are refused.
_SAFETY, _SHRINK, _GROW = 0.7, 0.2, 5.0
# A trajectory is given up as stiff after so many tries if, of late, this many more steps were at
# the limit of stability than three times those that were not. A batch takes thousands of steps in
# less time than an implicit method needs for one trajectory.
_STIFF_AFTER, _STIFF_COUNT = 2000, 50
# The batch is copied into a smaller one when less than this share of it is still running.
_COMPACT_BELOW = 0.8
# Samples interpolated together, which bounds the memory where there are many in one step.
_SAMPLES = 2**20


@dataclass
class _Batch:
    """Trajectories on their way, then copies of the last one that fill up whole vectors.

    All of shape (n,) but those marked (S, n).
    """

    problem: Problem
    count: int  # how many are no copies
    index: Tensor  # place among the trajectories of the solution
    t: Tensor
    end: Tensor
    brief: Tensor  # a time that is nothing beside the whole
    h: Tensor  # size of the next step
    y: Tensor  # (S, n)
    f: Tensor  # (S, n), derivative at (t, y)
    sample: Tensor  # number of the next sample
    next_time: Tensor  # its time, infinite after the last
    tries: Tensor
    rejected: Tensor  # whether the last try was
    stiff: Tensor  # score of stiffness
    status: Tensor
    running: Tensor
    error: Tensor  # (S, n), sum of the absolute local errors
    greatest: Tensor  # (S, n), greatest absolute state so far

    def select(self, index: Tensor) -> _Batch:
        """Return some of the trajectories."""
        padded = _padded(index)
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        kept = {k: value[..., padded] for k, value in values.items() if isinstance(value, Tensor)}
        kept["running"][index.numel() :] = False
        return replace(self, problem=self.problem.select(padded), count=index.numel(), **kept)


def solve_adaptive(problem: Problem, method: str) -> Solution:
    """Integrate with "rk45" or "dop853", and again ten times looser for the error estimate.

    Args:
        problem: What to integrate; gradients are not followed.
        method: A key of `TABLEAUS`.

    Returns:
        The solution, with the status of each trajectory and the larger of two error estimates: the
        sum of the local errors, and how far the looser solution is away, which tells what the
        system makes of early errors. Only the first where a trajectory failed.
    """
    solution = solve_once(problem, method)
    whole = (solution.status == Status.CONVERGED).nonzero()[:, 0]
    again = problem.select(whole)
    again = replace(again, rtol=10.0 * problem.rtol, atol=10.0 * problem.atol)
    away = difference(solution.states[whole], solve_once(again, method).states, problem)
    estimate = solution.error_estimate.index_copy(
        0, whole, solution.error_estimate[whole].maximum(away)
    )
    return replace(solution, error_estimate=estimate)


@torch.no_grad()
def solve_once(problem: Problem, method: str) -> Solution:
    """Integrate with "rk45" or "dop853"; the error estimate is the sum of the local errors."""
    problem = problem.detach()
    n_trajectories, n_times = problem.times.shape
    like = problem.initial
    solution = Solution(
        states=like.new_full((n_trajectories, n_times, like.shape[0]), torch.nan),
        error_estimate=like.new_zeros(n_trajectories),
        status=torch.zeros(n_trajectories, dtype=torch.int64, device=like.device),
    )
    tile = _tile_size(problem)
    for first in range(0, n_trajectories, tile):
        rows = slice(first, min(first + tile, n_trajectories))
        out = Solution(solution.states[rows], solution.error_estimate[rows], solution.status[rows])
        _solve_tile(problem.select(rows), TABLEAUS[method], out)
    return solution


def _tile_size(problem: Problem) -> int:
    """Return how many trajectories are integrated together.

    Few enough for the stages to stay in cache, and for torch not to split a call among threads,
    which gains little here and would make the place of vector tails depend on their number.
    """
    return max(_LANES, (_SPLIT // problem.initial.shape[0] - 1) // _LANES * _LANES)


def _padded(index: Tensor) -> Tensor:
    """Repeat the last entry up to whole vectors.

    Vector units round the tail of an array differently (multiply and add in one rounding or two).
    Without tails a trajectory has the same bits in any batch.
    """
    missing = -index.numel() % _LANES
    return torch.cat([index, index[-1:].expand(missing)])


def _solve_tile(problem: Problem, tableau: Tableau, out: Solution) -> None:
    """Integrate some trajectories and write into `out`, a view of their rows."""
    batch = _begin(problem, tableau, out)
    running = int(batch.running.sum())
    while running:
        if running < _COMPACT_BELOW * batch.t.numel() - _LANES:
            _finish(batch, out)
            batch = batch.select(batch.running.nonzero()[:, 0])
        _advance(batch, tableau, out)
        running = int(batch.running.sum())
    _finish(batch, out)


def _begin(problem: Problem, tableau: Tableau, out: Solution) -> _Batch:
    count = problem.counts.numel()
    index = _padded(torch.arange(count, device=problem.counts.device))
    problem = problem.select(index)
    t, y, end = problem.start, problem.initial, problem.end
    f = problem.derivative(t, y)
    defined = f.isfinite().all(dim=0)
    at_start = problem.times[:, 0] == t
    out.states[index[at_start], 0] = y.T[at_start]
    none = torch.zeros_like(t, dtype=torch.int64)
    batch = _Batch(
        problem=problem,
        count=count,
        index=index,
        t=t,
        end=end,
        brief=1e-6 * (end - t),
        h=_first_step(problem, t, y, f, end - t, tableau),
        y=y,
        f=f,
        sample=at_start.to(torch.int64),
        next_time=t,
        tries=none,
        rejected=torch.zeros_like(defined),
        stiff=none,
        status=torch.where(defined, int(Status.CONVERGED), int(Status.DIVERGED)),
        running=defined & (t < end) & (torch.arange(t.numel(), device=t.device) < count),
        error=torch.zeros_like(y),
        greatest=y.abs(),
    )
    batch.next_time = _time_of(batch.problem, batch.sample)
    return batch


def _first_step(
    problem: Problem, t: Tensor, y: Tensor, f: Tensor, span: Tensor, tableau: Tableau
) -> Tensor:
    """Choose the first step as Hairer, Norsett, Wanner, Solving ODEs I, sec. II.4, do."""
    scale = problem.atol + problem.rtol * y.abs()
    size, slope = largest(y / scale), largest(f / scale)
    tiny = (size < 1e-5) | (slope < 1e-5)
    trial = torch.where(tiny, 1e-6, 0.01 * size / slope).minimum(span)
    change = problem.derivative(t + trial, torch.addcmul(y, f, trial)) - f
    steepest = torch.maximum(slope, largest(change / scale) / trial)
    step = (0.01 / steepest) ** (1.0 / (tableau.error_order + 1))
    step = torch.where(steepest > 1e-15, step, torch.clamp(1e-3 * trial, min=1e-6))
    step = step.minimum(100.0 * trial).minimum(span)
    return torch.where(step.isfinite(), step, trial)


def _advance(batch: _Batch, tableau: Tableau, out: Solution) -> None:
    """Try one step of every running trajectory; take it where its error is small enough."""
    # With inputs, no step crosses a sample time, where they have a kink.
    target = batch.end if batch.problem.inputs is None else batch.end.minimum(batch.next_time)
    room = target - batch.t
    last = batch.h >= room
    h = torch.where(batch.running, torch.where(last, room, batch.h), 0.0)
    step = take_step(batch.problem, tableau, batch.t, batch.y, batch.f, h)
    accepted = (step.error_norm <= 1.0) & batch.running
    t_new = torch.where(accepted, torch.where(last, target, batch.t + h), batch.t)
    _write_samples(batch, tableau, step, h, t_new, out)
    batch.t = t_new
    batch.y = torch.where(accepted, step.y, batch.y)
    batch.f = torch.where(accepted, step.f, batch.f)
    batch.error = batch.error + torch.where(accepted, step.error, 0.0)
    batch.greatest = torch.maximum(batch.greatest, batch.y.abs())
    _choose_step(batch, step, h, accepted, last, tableau)
    _retire(batch, step, accepted, tableau)


def _choose_step(
    batch: _Batch, step: Step, h: Tensor, accepted: Tensor, last: Tensor, tableau: Tableau
) -> None:
    factor = _SAFETY * step.error_norm ** (-1.0 / (tableau.error_order + 1))
    factor = factor.clamp(_SHRINK, _GROW)
    factor = torch.where(batch.rejected, factor.clamp(max=1.0), factor)
    proposed = h * factor
    # A step cut short by its target says nothing against the size it was cut from.
    batch.h = torch.where(accepted & last, proposed.maximum(batch.h), proposed)
    batch.rejected = ~accepted


def _retire(batch: _Batch, step: Step, accepted: Tensor, tableau: Tableau) -> None:
    """Give a status to trajectories that cannot go on, and stop those and the finished ones."""
    batch.tries = batch.tries + 1
    pressed = accepted & (step.stiffness > tableau.stability)
    batch.stiff = torch.where(pressed, batch.stiff + 1, (batch.stiff - 3).clamp(min=0))
    stiff = (batch.stiff >= _STIFF_COUNT) & (batch.tries >= _STIFF_AFTER)
    too_many = batch.running & ((batch.tries >= batch.problem.max_steps) | stiff)
    batch.status = torch.where(too_many, int(Status.TOO_MANY_STEPS), batch.status)
    vanishing = batch.h < 10.0 * torch.finfo(batch.t.dtype).eps * batch.t.abs().maximum(batch.brief)
    vanished = batch.running & ~accepted & vanishing
    batch.status = torch.where(vanished, int(Status.DIVERGED), batch.status)
    batch.running = batch.running & ~too_many & ~vanished & (batch.t < batch.end)


def _write_samples(
    batch: _Batch, tableau: Tableau, step: Step, h: Tensor, t_new: Tensor, out: Solution
) -> None:
    """Interpolate at the samples between t and t_new and move on to the samples behind."""
    due = batch.next_time <= t_new
    if not bool(due.any()):
        return
    problem = batch.problem
    coefficients = interpolant(problem, tableau, batch.t, batch.y, h, step)
    behind = torch.searchsorted(problem.times, t_new[:, None], right=True)[:, 0]
    behind = torch.where(due, behind, batch.sample)
    ends = (behind - batch.sample).cumsum(dim=0)
    before = ends - behind  # samples due in earlier rows, less the number of the row's first
    # As repeat_interleave, which would wake all threads for a handful of numbers.
    rows = torch.bincount(ends)[:-1].cumsum(dim=0)
    numbers = torch.arange(rows.numel(), device=rows.device)
    for row, number in zip(rows.split(_SAMPLES), numbers.split(_SAMPLES), strict=True):
        sample = number - before[row]
        x = ((problem.times[row, sample] - batch.t[row]) / h[row]).clamp(max=1.0)
        values = evaluate(batch.y[:, row], [entry[:, row] for entry in coefficients], x)
        out.states[batch.index[row], sample] = values.T
    batch.sample = behind
    batch.next_time = _time_of(problem, behind)


def _time_of(problem: Problem, sample: Tensor) -> Tensor:
    """Return the times of samples, infinite behind the last."""
    inside = sample < problem.counts
    found = problem.times.gather(1, sample.minimum(problem.counts - 1)[:, None])[:, 0]
    return torch.where(inside, found, torch.inf)


def _finish(batch: _Batch, out: Solution) -> None:
    """Write status and error estimate of the trajectories."""
    problem, index = batch.problem, batch.index[: batch.count]
    scale = problem.atol / problem.rtol + batch.greatest
    out.error_estimate[index] = (batch.error / scale).amax(dim=0)[: batch.count]
    out.status[index] = batch.status[: batch.count]
