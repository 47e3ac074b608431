"""Batched integration with a step size for each trajectory, by PyTorch.

Every trajectory has its own time, step size and error control, and nothing of one enters the
arithmetic of another: the batch only shares the calls. Trajectories that are done or have failed
leave the batch.

Each trajectory has two solutions: a coarse one, whose local errors choose the steps, and a fine one
that takes every step in two halves. Their distance at the samples is the error of the coarse one.
A step is refused, too, where its halves say that its local error is much larger than it seemed: in
one step of a million the estimate of an embedded pair vanishes by chance, and the worst of 10^5
trajectories were wrong by 1,700 tolerances.

An explicit method reports the coarse one, and this distance as its error. An implicit one, whose
steps would be too long for that, reports the fine one, and as its error the distance over 2^order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from warp_phys.systems._problem import Problem, Solution, Status
from warp_phys.systems._runge_kutta import Step, evaluate, largest
from warp_phys.systems._schedule import Drive, Schedule
from warp_phys.systems._steppers import STEPPERS, Stepper

_SPLIT = 32_768  # numbers from which on torch splits a call among threads
_LANES = 32  # numbers that torch's vector loops take at once, at most
# Smaller steps than with the usual safety of 0.9 cost no more time, as fewer are refused.
SAFETY, SHRINK, GROW = 0.7, 0.2, 5.0
# Local errors add up and grow: held to this share of the tolerance, they leave 999 in 1,000
# trajectories with global errors below it (Lotka-Volterra, pendulum).
_LOCAL_SHARE = 0.1
# How much larger than tolerated a local error may be by what the halves say of it.
ALLOWANCE = 10.0
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
    y: Tensor  # (S, n), coarse
    f: Tensor  # (S, n), derivative at (t, y)
    fine: Tensor  # (S, n)
    fine_f: Tensor  # (S, n)
    piece: Tensor  # of the schedule, and number of the next stop
    sample: Tensor  # number of the next sample
    next_time: Tensor  # its time, infinite after the last
    tries: Tensor
    rejected: Tensor  # whether the last try was
    stiff: Tensor  # score of stiffness
    status: Tensor
    running: Tensor
    gap: Tensor  # (S, n), greatest distance of both solutions at a sample
    greatest: Tensor  # (S, n), greatest absolute state at a sample

    def select(self, index: Tensor) -> _Batch:
        """Return some of the trajectories."""
        padded = _padded(index)
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        kept = {k: value[..., padded] for k, value in values.items() if isinstance(value, Tensor)}
        kept["running"][index.numel() :] = False
        return replace(self, problem=self.problem.select(padded), count=index.numel(), **kept)


def with_local_tolerances(problem: Problem) -> Problem:
    """Return the problem with the tolerances that its local errors are held to."""
    least = 100.0 * torch.finfo(problem.initial.dtype).eps
    rtol = max(_LOCAL_SHARE * problem.rtol, least)
    return replace(problem, rtol=rtol, atol=_LOCAL_SHARE * problem.atol)


@torch.no_grad()
def solve_adaptive(problem: Problem, method: str) -> Solution:
    """Integrate; gradients are not followed.

    Args:
        problem: What to integrate.
        method: A key of `STEPPERS`.
    """
    scale = problem.atol / problem.rtol
    problem = with_local_tolerances(problem.detach())
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
        _solve_tile(problem.select(rows), STEPPERS[method], scale, out)
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


def _solve_tile(problem: Problem, stepper: Stepper, scale: float, out: Solution) -> None:
    """Integrate some trajectories and write into `out`, a view of their rows."""
    batch = _begin(problem, stepper, out)
    running = int(batch.running.sum())
    while running:
        if running < _COMPACT_BELOW * batch.t.numel() - _LANES:
            _finish(batch, stepper, scale, out)
            batch = batch.select(batch.running.nonzero()[:, 0])
        _advance(batch, stepper, out)
        running = int(batch.running.sum())
    _finish(batch, stepper, scale, out)


def _begin(problem: Problem, stepper: Stepper, out: Solution) -> _Batch:
    count = problem.counts.numel()
    index = _padded(torch.arange(count, device=problem.counts.device))
    problem = problem.select(index)
    t, end, piece = problem.start, problem.end, problem.first_piece()
    y = problem.initial + problem.initial_jump()
    f = problem.derivative(t, y, problem.drive(piece))
    defined = f.isfinite().all(dim=0)
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
        fine=y,
        fine_f=f,
        piece=piece,
        sample=none,
        next_time=problem.times[:, 0],
        tries=none,
        rejected=torch.zeros_like(defined),
        stiff=none,
        status=torch.where(defined, int(Status.CONVERGED), int(Status.DIVERGED)),
        running=defined & (t < end) & (torch.arange(t.numel(), device=t.device) < count),
        gap=torch.zeros_like(y),
        greatest=torch.zeros_like(y),
    )
    _write_reached(batch, stepper, out)
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
    accepted, step = _take_halves(batch, stepper, drive, h, accepted, target, last, step, out)
    _choose_step(batch, step, h, accepted, last, stepper)
    _retire(batch, step, accepted, stepper)


def _take_halves(
    batch: _Batch,
    stepper: Stepper,
    drive: Drive | None,
    h: Tensor,
    accepted: Tensor,
    target: Tensor,
    last: Tensor,
    step: Step,
    out: Solution,
) -> tuple[Tensor, Step]:
    """Repeat the accepted steps in halves, write the samples, and move on.

    Returns:
        Where this held, and the step, its error infinite where it did not.
    """
    problem, schedule = batch.problem, batch.problem.schedule
    half = torch.where(accepted, 0.5 * h, 0.0)
    middle = batch.t + half
    first = stepper.step(problem, drive, batch.t, batch.fine, batch.fine_f, half)
    second = stepper.step(problem, drive, middle, first.y, first.f, half)
    norm = _discrepancy(batch, step, second)
    sound = accepted & (norm <= 1.0)
    norm = torch.where(accepted, norm.maximum(step.error_norm), step.error_norm)
    step = replace(step, error_norm=norm)
    t_new = torch.where(sound, torch.where(last, target, batch.t + h), batch.t)
    if bool((batch.next_time < t_new).any()):
        coarse = _Piece(
            batch.t, h, batch.y, stepper.interpolant(problem, drive, batch.t, batch.y, h, step)
        )
        pieces = ((batch.t, batch.fine, first), (middle, first.y, second))
        for (start, y, taken), stop in zip(pieces, (middle, t_new), strict=True):
            stop = torch.where(sound, stop, batch.t)
            if bool((batch.next_time < stop).any()):
                coefficients = stepper.interpolant(problem, drive, start, y, half, taken)
                fine = _Piece(start, half, y, coefficients)
                _write_samples(batch, stepper, coarse, fine, stop, out)
    batch.t = t_new
    batch.y = torch.where(sound, step.y, batch.y)
    batch.f = torch.where(sound, step.f, batch.f)
    batch.fine = torch.where(sound, second.y, batch.fine)
    batch.fine_f = torch.where(sound, second.f, batch.fine_f)
    if schedule is not None:
        _pass_stops(batch, schedule)
    _write_reached(batch, stepper, out)
    return sound, step


def _discrepancy(batch: _Batch, step: Step, second: Step) -> Tensor:
    """Return what the halves say of a step's local error, over what is allowed, (n,).

    The distance that was there before is carried along and may grow, too. Infinite where the halves
    are not finite.
    """
    problem = batch.problem
    scale = problem.atol + problem.rtol * torch.maximum(batch.y.abs(), step.y.abs())
    carried = (batch.y - batch.fine) / scale
    local = (step.y - second.y) / scale - carried
    norm = largest(local) / (ALLOWANCE * largest(carried).clamp(min=1.0))
    finite = (second.y + second.f).isfinite().all(dim=0) & norm.isfinite()
    return torch.where(finite, norm, torch.inf)


def _pass_stops(batch: _Batch, schedule: Schedule) -> None:
    """Let doses act and inputs change where a trajectory has come to a stop."""
    moved = torch.zeros_like(batch.running)
    while True:
        here = (schedule.stop(batch.piece) == batch.t) & batch.running
        if not bool(here.any()):
            break
        jump = torch.where(here, schedule.jump(batch.piece), 0.0)
        batch.y, batch.fine = batch.y + jump, batch.fine + jump
        batch.piece = batch.piece + here.long()
        moved = moved | here
    if bool(moved.any()):
        drive = batch.problem.drive(batch.piece)
        f, fine_f = (batch.problem.derivative(batch.t, y, drive) for y in (batch.y, batch.fine))
        batch.f = torch.where(moved, f, batch.f)
        batch.fine_f = torch.where(moved, fine_f, batch.fine_f)


def _choose_step(
    batch: _Batch, step: Step, h: Tensor, accepted: Tensor, last: Tensor, stepper: Stepper
) -> None:
    factor = SAFETY * step.error_norm ** (-1.0 / (stepper.error_order + 1))
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


@dataclass(frozen=True)
class _Piece:
    """A step's interpolant: where it begins, how long it is, and its coefficients."""

    start: Tensor
    length: Tensor
    y: Tensor
    coefficients: list[Tensor]

    def at(self, rows: Tensor, times: Tensor) -> Tensor:
        """Return the states (S, m) of trajectories `rows` (m,) at `times` (m,)."""
        x = (times - self.start[rows]) / self.length[rows]
        return evaluate(self.y[:, rows], [entry[:, rows] for entry in self.coefficients], x)


def _write_samples(
    batch: _Batch, stepper: Stepper, coarse: _Piece, fine: _Piece, stop: Tensor, out: Solution
) -> None:
    """Interpolate at the samples before `stop`, and move on to those behind."""
    times = batch.problem.times
    behind = torch.searchsorted(times, stop[:, None])[:, 0]
    behind = torch.where(batch.next_time < stop, behind, batch.sample)
    ends = (behind - batch.sample).cumsum(dim=0)
    before = ends - behind  # samples due in earlier rows, less the number of the row's first
    # As repeat_interleave, which would wake all threads for a handful of numbers.
    rows = torch.bincount(ends)[:-1].cumsum(dim=0)
    numbers = torch.arange(rows.numel(), device=rows.device)
    for row, number in zip(rows.split(_SAMPLES), numbers.split(_SAMPLES), strict=True):
        sample = number - before[row]
        at = times[row, sample]
        _write(batch, stepper, row, sample, coarse.at(row, at), fine.at(row, at), out)
    batch.sample = behind
    batch.next_time = _time_of(batch.problem, behind)


def _write_reached(batch: _Batch, stepper: Stepper, out: Solution) -> None:
    """Write the samples at the very times that have been reached."""
    here = batch.next_time == batch.t
    rows = here.nonzero()[:, 0]
    if rows.numel() == 0:
        return
    _write(batch, stepper, rows, batch.sample[rows], batch.y[:, rows], batch.fine[:, rows], out)
    batch.sample = batch.sample + here.long()
    batch.next_time = _time_of(batch.problem, batch.sample)


def _write(
    batch: _Batch,
    stepper: Stepper,
    rows: Tensor,
    samples: Tensor,
    coarse: Tensor,
    fine: Tensor,
    out: Solution,
) -> None:
    """Write samples (S, m), and note how far both solutions are apart."""
    values = coarse if stepper.richardson == 1.0 else fine
    out.states[batch.index[rows], samples] = values.T
    place = rows.expand(len(values), -1)
    batch.gap = batch.gap.scatter_reduce(1, place, (coarse - fine).abs(), "amax")
    batch.greatest = batch.greatest.scatter_reduce(1, place, values.abs(), "amax")


def _time_of(problem: Problem, sample: Tensor) -> Tensor:
    """Return the times of samples, infinite behind the last."""
    inside = sample < problem.counts
    found = problem.times.gather(1, sample.minimum(problem.counts - 1)[:, None])[:, 0]
    return torch.where(inside, found, torch.inf)


def _finish(batch: _Batch, stepper: Stepper, scale: float, out: Solution) -> None:
    """Write status and error estimate of the trajectories."""
    index = batch.index[: batch.count]
    estimate = (batch.gap / (scale + batch.greatest)).amax(dim=0) / stepper.richardson
    out.error_estimate[index] = estimate[: batch.count]
    out.status[index] = batch.status[: batch.count]
