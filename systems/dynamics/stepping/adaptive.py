"""Batched integration with a step size for each trajectory, by PyTorch.

Every trajectory has its own time, step size and error control, and nothing of one enters the
arithmetic of another: the batch only shares the calls. Trajectories that are done or have failed
leave the batch.

Each trajectory has two solutions: a coarse one, whose local errors choose the steps, and a fine one
that takes every step in two halves. The coarse one is reported, and their distance at the samples
is its error. A step is refused, too, where its halves say that its local error is much larger than
it seemed: in one step of a million the estimate of an embedded pair vanishes by chance, and the
worst of 10^5 trajectories was wrong by 1,700 tolerances.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.systems.dynamics.problem import Problem, Solution
from warp_phys.systems.dynamics.stepping.batch import LANES, Batch, begin
from warp_phys.systems.dynamics.stepping.methods import STEPPERS
from warp_phys.systems.dynamics.stepping.runge_kutta import Step
from warp_phys.systems.dynamics.stepping.samples import Piece, write_reached, write_samples
from warp_phys.systems.dynamics.stepping.step_control import (
    choose_step,
    discrepancy,
    retire,
    with_local_tolerances,
)
from warp_phys.systems.forcing.schedule import Drive, Schedule

_SPLIT = 32_768  # numbers from which on torch splits a call among threads
# The batch is copied into a smaller one when less than this share of it is still running.
_COMPACT_BELOW = 0.8


@torch.no_grad()
def solve_adaptive(problem: Problem, method: str) -> Solution:
    """Integrate; gradients are not followed.

    Args:
        problem: What to integrate.
        method: A key of `STEPPERS`.
    """
    scale = problem.atol / problem.rtol
    problem = with_local_tolerances(problem.detach(), method)
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
        _solve_tile(begin(problem.select(rows), STEPPERS[method], scale, out))
    return solution


def _tile_size(problem: Problem) -> int:
    """Return how many trajectories are integrated together.

    Few enough for the stages to stay in cache, and for torch not to split a call among threads,
    which gains little here and would make the place of vector tails depend on their number.
    """
    return max(LANES, (_SPLIT // problem.initial.shape[0] - 1) // LANES * LANES)


def _solve_tile(batch: Batch) -> None:
    """Integrate some trajectories."""
    write_reached(batch)
    running = int(batch.running.sum())
    while running:
        if running < _COMPACT_BELOW * batch.t.numel() - LANES:
            batch.finish()
            batch = batch.select(batch.running.nonzero()[:, 0])
        _advance(batch)
        running = int(batch.running.sum())
    batch.finish()


def _advance(batch: Batch) -> None:
    """Try one step of every running trajectory; take it where its error is small enough."""
    problem, schedule = batch.problem, batch.problem.schedule
    target = batch.end
    if schedule is not None:
        target = target.minimum(schedule.stop(batch.piece))
    drive = problem.drive(batch.piece)
    room = target - batch.t
    last = batch.h >= room
    h = torch.where(batch.running, torch.where(last, room, batch.h), 0.0)
    step = batch.stepper.step(problem, drive, batch.t, batch.y, batch.f, h)
    accepted = (step.error_norm <= 1.0) & batch.running
    accepted, step = _take_halves(batch, drive, h, accepted, target, last, step)
    choose_step(batch, step, h, accepted, last)
    retire(batch, step, accepted)


def _take_halves(
    batch: Batch,
    drive: Drive | None,
    h: Tensor,
    accepted: Tensor,
    target: Tensor,
    last: Tensor,
    step: Step,
) -> tuple[Tensor, Step]:
    """Repeat the accepted steps in halves, write the samples, and move on.

    Returns:
        Where this held, and the step, its error infinite where it did not.
    """
    problem, stepper = batch.problem, batch.stepper
    half = torch.where(accepted, 0.5 * h, 0.0)
    middle = batch.t + half
    first = stepper.step(problem, drive, batch.t, batch.fine, batch.fine_f, half)
    second = stepper.step(problem, drive, middle, first.y, first.f, half)
    norm = discrepancy(batch, step, second)
    sound = accepted & (norm <= 1.0)
    norm = torch.where(accepted, norm.maximum(step.error_norm), step.error_norm)
    step = replace(step, error_norm=norm)
    t_new = torch.where(sound, torch.where(last, target, batch.t + h), batch.t)
    if bool((batch.next_time < t_new).any()):
        coarse = Piece(
            batch.t, h, batch.y, stepper.interpolant(problem, drive, batch.t, batch.y, h, step)
        )
        pieces = ((batch.t, batch.fine, first), (middle, first.y, second))
        for (start, y, taken), stop in zip(pieces, (middle, t_new), strict=True):
            stop = torch.where(sound, stop, batch.t)
            if bool((batch.next_time < stop).any()):
                coefficients = stepper.interpolant(problem, drive, start, y, half, taken)
                fine = Piece(start, half, y, coefficients)
                write_samples(batch, coarse, fine, stop)
    batch.t = t_new
    batch.y = torch.where(sound, step.y, batch.y)
    batch.f = torch.where(sound, step.f, batch.f)
    batch.fine = torch.where(sound, second.y, batch.fine)
    batch.fine_f = torch.where(sound, second.f, batch.fine_f)
    if problem.schedule is not None:
        _pass_stops(batch, problem.schedule)
    write_reached(batch)
    return sound, step


def _pass_stops(batch: Batch, schedule: Schedule) -> None:
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
