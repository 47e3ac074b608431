"""Batched adaptive integration by PyTorch, with step-size control for each trajectory.

Every trajectory has its own time, step size and error control, and the numbers of one trajectory
never enter the arithmetic of another: the batch shares only the calls. Trajectories that have
finished or failed are removed from the batch.

Each trajectory carries two solutions: a coarse one, whose local error estimates choose the steps,
and a fine one that takes every step in two halves (step doubling; Hairer, Norsett, Wanner, Solving
ODEs I, sec. II.4, though without extrapolation). The coarse solution is returned, and its distance
from the fine one at the samples is its error estimate. A step is also rejected if its halves show
that its local error is much larger than the embedded pair estimated: in about one step of a million
that estimate vanishes by chance, and without this check the worst of 10^5 trajectories was wrong by
1,700 tolerances.

Jumps of the right-hand side are not located, unlike by compiled code: steps end at those whose
times the expressions show, and follow the others by their error estimates alone.
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
from warp_phys.systems.dynamics.switch_times import with_switch_stops
from warp_phys.systems.forcing.schedule import InputPiece, Schedule

_SPLIT = 32_768  # elements of a tensor from which torch divides an operation among threads
# Compacting copies every tensor of the batch, and rows that have finished still cost arithmetic.
# The batch is compacted when less than this share of its rows is still running.
_COMPACT_BELOW = 0.8
_SLIVER = 4.0  # units in the last place of t


@torch.no_grad()
def solve_adaptive(problem: Problem, method: str) -> Solution:
    """Integrate a problem adaptively, without gradients.

    Args:
        problem: The initial-value problems of N trajectories.
        method: A key of `STEPPERS`.

    Returns:
        States (N, T, S), NaN at samples that were not reached, error estimates and statuses (N,).
    """
    # The error estimate is relative to atol / rtol + max |y|. The ratio (S, N) is taken before the
    # local tolerances replace both: they share a factor, but rtol may be raised to its floor.
    scale = problem.atol / problem.rtol
    problem = with_switch_stops(with_local_tolerances(problem.detach(), method))
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
        # Slices are views, so that writing a tile's samples fills the whole solution.
        out = Solution(solution.states[rows], solution.error_estimate[rows], solution.status[rows])
        _solve_tile(begin(problem.select(rows), STEPPERS[method], scale[:, rows], out))
    return solution


def _tile_size(problem: Problem) -> int:
    """Return how many trajectories are integrated together.

    The tile is small enough for the stages to stay in cache and for torch not to divide an
    operation among threads. Threads would gain little here, and the positions at which the vector
    loops end (see `_padded`), hence the rounding, would depend on the number of threads.
    """
    return max(LANES, (_SPLIT // problem.initial.shape[0] - 1) // LANES * LANES)


def _solve_tile(batch: Batch) -> None:
    """Step until every trajectory of the batch has finished or failed."""
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
    """Try one step of every running trajectory, and accept it if its error norm is at most 1."""
    problem, schedule = batch.problem, batch.problem.schedule
    # A step ends at the next stop of the schedule at the latest: across a jump of the input or of
    # the state the right-hand side is not smooth, and the order of the method, which the error
    # estimate relies on, would be lost.
    target = batch.end
    if schedule is not None:
        target = target.minimum(schedule.stop(batch.piece))
    drive = problem.drive(batch.piece)
    room = target - batch.t
    last = batch.h >= room
    # Rows that have finished take steps of length zero, which leave them where they are.
    h = torch.where(batch.running, torch.where(last, room, batch.h), 0.0)
    step = batch.stepper.step(problem, drive, batch.t, batch.y, batch.f, h)
    # A step as long as the spacing of the numbers at t cannot be shorter, whatever it crosses.
    sliver = h <= _SLIVER * torch.finfo(h.dtype).eps * target.abs()
    step = replace(step, error_norm=torch.where(sliver, 0.0, step.error_norm))
    accepted = (step.error_norm <= 1.0) & batch.running
    accepted, step = _take_halves(batch, drive, h, accepted, target, last, step)
    choose_step(batch, step, h, accepted, last)
    retire(batch, step, accepted)


def _take_halves(
    batch: Batch,
    drive: InputPiece | None,
    h: Tensor,
    accepted: Tensor,
    target: Tensor,
    last: Tensor,
    step: Step,
) -> tuple[Tensor, Step]:
    """Repeat the accepted steps in two halves, write the samples, and advance the trajectories.

    Returns:
        Which steps the halves confirmed (n,), and the step, whose error norm is now the larger one
        of the embedded estimate and of that by the halves.
    """
    problem, stepper = batch.problem, batch.stepper
    # The halves start from the fine solution, not from the coarse one, so that the distance of the
    # two is the global error of the coarse solution up to a factor 1 - 2^-p for a method of order
    # p.
    half = torch.where(accepted, 0.5 * h, 0.0)
    middle = batch.t + half
    first = stepper.step(problem, drive, batch.t, batch.fine, batch.fine_f, half)
    second = stepper.step(problem, drive, middle, first.y, first.f, half)
    norm = discrepancy(batch, step, second)
    sliver = h <= _SLIVER * torch.finfo(h.dtype).eps * target.abs()
    norm = torch.where(sliver, 0.0, norm)
    sound = accepted & (norm <= 1.0)
    norm = torch.where(accepted, norm.maximum(step.error_norm), step.error_norm)
    step = replace(step, error_norm=norm)
    # The target itself is assigned, as t + (target - t) may round to a neighbor of the target, and
    # the comparisons with samples and stops are exact.
    t_new = torch.where(sound, torch.where(last, target, batch.t + h), batch.t)
    # Dense output is built only if some sample lies inside the step: for DOP853 it costs three more
    # evaluations of the right-hand side.
    if bool((batch.next_time < t_new).any()):
        coarse = Piece(
            batch.t, h, batch.y, stepper.interpolant(problem, drive, batch.t, batch.y, h, step)
        )
        # The fine solution has one interpolant for each half of the step; a sample in either half
        # is written in both solutions.
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
    """Apply the doses and switch the inputs of trajectories that have reached a stop."""
    moved = torch.zeros_like(batch.running)
    # Several stops may share one time, and a stop with an infinite time never matches.
    while True:
        here = (schedule.stop(batch.piece) == batch.t) & batch.running
        if not bool(here.any()):
            break
        jump = torch.where(here, schedule.jump(batch.piece), 0.0)
        batch.y, batch.fine = batch.y + jump, batch.fine + jump
        batch.piece = batch.piece + here.long()
        moved = moved | here
    if bool(moved.any()):
        # The derivative from the end of the last step (first same as last) holds no longer after
        # the state or the input has jumped.
        drive = batch.problem.drive(batch.piece)
        f, fine_f = (batch.problem.derivative(batch.t, y, drive) for y in (batch.y, batch.fine))
        batch.f = torch.where(moved, f, batch.f)
        batch.fine_f = torch.where(moved, fine_f, batch.fine_f)
