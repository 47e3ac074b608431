"""Batched integration with a step size for each trajectory, by PyTorch.

Every trajectory has its own time, step size and error control, and nothing of one enters the
arithmetic of another: the batch only shares the calls. Trajectories that are done or have failed
leave the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from warp_phys.systems._problem import Problem, Solution, Status, difference
from warp_phys.systems._runge_kutta import Step, evaluate, largest
from warp_phys.systems._schedule import Drive, Schedule
from warp_phys.systems._steppers import STEPPERS, Stepper

_SPLIT = 32_768  # numbers from which on torch splits a call among threads
_LANES = 32  # numbers that torch's vector loops take at once, at most
SHRINK, GROW = 0.2, 5.0
# A trajectory is given up as stiff after so many tries if, of late, this many more steps were at
# the limit of stability than three times those that were not.
STIFF_AFTER, STIFF_COUNT = 500, 50
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
    piece: Tensor  # of the schedule, and number of the next stop
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
    """Integrate, and again ten times looser for the error estimate.

    Args:
        problem: What to integrate; gradients are not followed.
        method: A key of `STEPPERS`.

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
    """Integrate once; the error estimate is the sum of the local errors."""
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
        _solve_tile(problem.select(rows), STEPPERS[method], out)
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


def _solve_tile(problem: Problem, stepper: Stepper, out: Solution) -> None:
    """Integrate some trajectories and write into `out`, a view of their rows."""
    batch = _begin(problem, stepper, out)
    running = int(batch.running.sum())
    while running:
        if running < _COMPACT_BELOW * batch.t.numel() - _LANES:
            _finish(batch, out)
            batch = batch.select(batch.running.nonzero()[:, 0])
        _advance(batch, stepper, out)
        running = int(batch.running.sum())
    _finish(batch, out)


def _begin(problem: Problem, stepper: Stepper, out: Solution) -> _Batch:
    count = problem.counts.numel()
    index = _padded(torch.arange(count, device=problem.counts.device))
    problem = problem.select(index)
    t, end, piece = problem.start, problem.end, problem.first_piece()
    y = problem.initial + problem.initial_jump()
    f = problem.derivative(t, y, problem.drive(piece))
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
        h=_first_step(problem, problem.drive(piece), t, y, f, end - t, stepper),
        y=y,
        f=f,
        piece=piece,
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
    problem: Problem,
    drive: Drive | None,
    t: Tensor,
    y: Tensor,
    f: Tensor,
    span: Tensor,
    stepper: Stepper,
) -> Tensor:
    """Choose the first step as Hairer, Norsett, Wanner, Solving ODEs I, sec. II.4, do."""
    scale = problem.atol + problem.rtol * y.abs()
    size, slope = largest(y / scale), largest(f / scale)
    tiny = (size < 1e-5) | (slope < 1e-5)
    trial = torch.where(tiny, 1e-6, 0.01 * size / slope).minimum(span)
    change = problem.derivative(t + trial, torch.addcmul(y, f, trial), drive) - f
    steepest = torch.maximum(slope, largest(change / scale) / trial)
    step = (0.01 / steepest) ** (1.0 / (stepper.error_order + 1))
    step = torch.where(steepest > 1e-15, step, torch.clamp(1e-3 * trial, min=1e-6))
    step = step.minimum(100.0 * trial).minimum(span)
    return torch.where(step.isfinite(), step, trial)


def _advance(batch: _Batch, stepper: Stepper, out: Solution) -> None:
    """Try one step of every running trajectory; take it where its error is small enough."""
    problem, schedule = batch.problem, batch.problem.schedule
    target = batch.end
    if schedule is not None:
        target = target.minimum(schedule.stop(batch.piece))
    drive = problem.drive(batch.piece)
    room = target - batch.t
    last = batch.h >= room
    h = torch.where(batch.running, torch.where(last, room, batch.h), 0.0)
    step = stepper.step(problem, drive, batch.t, batch.y, batch.f, h)
    accepted = (step.error_norm <= 1.0) & batch.running
    t_new = torch.where(accepted, torch.where(last, target, batch.t + h), batch.t)
    if bool((batch.next_time < t_new).any()):
        coefficients = stepper.interpolant(problem, drive, batch.t, batch.y, h, step)
        _write_samples(batch, coefficients, h, t_new, out)
    batch.t = t_new
    batch.y = torch.where(accepted, step.y, batch.y)
    batch.f = torch.where(accepted, step.f, batch.f)
    batch.error = batch.error + torch.where(accepted, step.error, 0.0)
    if schedule is not None:
        _pass_stops(batch, schedule)
    batch.greatest = torch.maximum(batch.greatest, batch.y.abs())
    _write_reached(batch, out)
    _choose_step(batch, step, h, accepted, last, stepper)
    _retire(batch, step, accepted, stepper)


def _pass_stops(batch: _Batch, schedule: Schedule) -> None:
    """Let doses act and inputs change where a trajectory has come to a stop."""
    moved = torch.zeros_like(batch.running)
    while True:
        here = (schedule.stop(batch.piece) == batch.t) & batch.running
        if not bool(here.any()):
            break
        batch.y = batch.y + torch.where(here, schedule.jump(batch.piece), 0.0)
        batch.piece = batch.piece + here.long()
        moved = moved | here
    if bool(moved.any()):
        f = batch.problem.derivative(batch.t, batch.y, batch.problem.drive(batch.piece))
        batch.f = torch.where(moved, f, batch.f)


def _choose_step(
    batch: _Batch, step: Step, h: Tensor, accepted: Tensor, last: Tensor, stepper: Stepper
) -> None:
    factor = stepper.safety * step.error_norm ** (-1.0 / (stepper.error_order + 1))
    factor = factor.clamp(SHRINK, GROW)
    factor = torch.where(batch.rejected, factor.clamp(max=1.0), factor)
    proposed = h * factor
    # A step cut short by its target says nothing against the size it was cut from.
    batch.h = torch.where(accepted & last, proposed.maximum(batch.h), proposed)
    batch.rejected = ~accepted


def _retire(batch: _Batch, step: Step, accepted: Tensor, stepper: Stepper) -> None:
    """Give a status to trajectories that cannot go on, and stop those and the finished ones."""
    batch.tries = batch.tries + 1
    pressed = accepted & (step.stiffness > stepper.stability)
    batch.stiff = torch.where(pressed, batch.stiff + 1, (batch.stiff - 3).clamp(min=0))
    stiff = (batch.stiff >= STIFF_COUNT) & (batch.tries >= STIFF_AFTER)
    ahead = batch.running & (batch.t < batch.end)
    too_many = ahead & ((batch.tries >= batch.problem.max_steps) | stiff)
    batch.status = torch.where(too_many, int(Status.TOO_MANY_STEPS), batch.status)
    vanishing = batch.h < 10.0 * torch.finfo(batch.t.dtype).eps * batch.t.abs().maximum(batch.brief)
    vanished = ahead & ~accepted & vanishing
    batch.status = torch.where(vanished, int(Status.DIVERGED), batch.status)
    batch.running = ahead & ~too_many & ~vanished


def _write_samples(
    batch: _Batch, coefficients: list[Tensor], h: Tensor, t_new: Tensor, out: Solution
) -> None:
    """Interpolate at the samples between t and t_new and move on to the samples behind."""
    times = batch.problem.times
    behind = torch.searchsorted(times, t_new[:, None])[:, 0]
    behind = torch.where(batch.next_time < t_new, behind, batch.sample)
    ends = (behind - batch.sample).cumsum(dim=0)
    before = ends - behind  # samples due in earlier rows, less the number of the row's first
    # As repeat_interleave, which would wake all threads for a handful of numbers.
    rows = torch.bincount(ends)[:-1].cumsum(dim=0)
    numbers = torch.arange(rows.numel(), device=rows.device)
    for row, number in zip(rows.split(_SAMPLES), numbers.split(_SAMPLES), strict=True):
        sample = number - before[row]
        x = (times[row, sample] - batch.t[row]) / h[row]
        values = evaluate(batch.y[:, row], [entry[:, row] for entry in coefficients], x)
        out.states[batch.index[row], sample] = values.T
    batch.sample = behind
    batch.next_time = _time_of(batch.problem, behind)


def _write_reached(batch: _Batch, out: Solution) -> None:
    """Write the samples at the very times that have been reached."""
    here = batch.next_time == batch.t
    rows = here.nonzero()[:, 0]
    if rows.numel() == 0:
        return
    out.states[batch.index[rows], batch.sample[rows]] = batch.y.T[rows]
    batch.sample = batch.sample + here.long()
    batch.next_time = _time_of(batch.problem, batch.sample)


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
