"""Absolute tolerances that follow the problem: a share of the size that each state has.

A state of 1e-10 mol/L is to be as accurate as one of 1, and a compartment that starts empty has a
size only later. The size of a state is taken from its initial value, or guessed where that is zero;
trajectories in which a state stayed below its guess are integrated again with the size that it had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.systems.dynamics.problem import Problem, Solution, Status, scatter

# The tolerance of state i is rtol (|y_i| + FLOOR size_i). Where errors count relative to each
# value, only rounding errors of the largest value are exempt.
_FLOOR, _LEAST_FLOOR = 1e-2, 1e-10
# A guess is this share of the largest state: a smaller one would ask of a state that starts at zero
# for more digits than the larger states have, on which it depends.
_SHARE = 1e-6


def with_guessed_tolerances(problem: Problem) -> Problem:
    """Return the problem with absolute tolerances by the initial states."""
    with torch.no_grad():
        return _with_sizes(problem, _guessed(problem))


def refined(problem: Problem, solution: Solution, solve: Callable[[Problem], Solution]) -> Solution:
    """Integrate again where the guess of a state's size was larger than the state."""
    guess, found = _guessed(problem), _sizes(problem, solution)
    # A state that is zero throughout has no errors to be controlled.
    coarse = ((guess > 2.0 * found) & (found > 0.0)).any(dim=0)
    rows = (coarse & (solution.status == Status.CONVERGED)).nonzero()[:, 0]
    if not rows.numel():
        return solution
    sizes = torch.where(found > 0.0, found, guess)[:, rows]
    again = solve(_with_sizes(problem.select(rows), sizes))
    # What was integrated is not lost where the finer tolerance is out of reach.
    kept = (again.status == Status.CONVERGED).nonzero()[:, 0]
    every = torch.arange(problem.counts.numel(), device=rows.device)
    return scatter([(every, solution), (rows[kept], again.select(kept))], problem)


def _guessed(problem: Problem) -> Tensor:
    """Return (S, N), sizes by the initial states, after doses at the initial time."""
    y = (problem.initial + problem.initial_jump()).detach()
    size = y.abs().nan_to_num(0.0, 0.0)
    top = size.amax(dim=0)
    if not bool((top > 0.0).all()):
        # Everything starts at zero: what the first derivatives would make of it in the whole time.
        drive = problem.drive(problem.first_piece())
        slope = problem.detach().derivative(problem.start.detach(), y, drive).abs()
        rise = (
            (slope * (problem.end - problem.start).detach()).nan_to_num(0.0, 0.0, 0.0).amax(dim=0)
        )
        top = torch.where(top > 0.0, top, torch.where(rise > 0.0, rise, 1.0))
    return torch.maximum(size, _SHARE * top)


def _sizes(problem: Problem, solution: Solution) -> Tensor:
    """Return (S, N), the largest values at the samples and at the start."""
    start = (problem.initial + problem.initial_jump()).abs()
    return torch.maximum(solution.states.abs().nan_to_num(0.0).amax(dim=1).T, start)


def _with_sizes(problem: Problem, sizes: Tensor) -> Problem:
    floor = _LEAST_FLOOR if problem.relative else _FLOOR
    # Never zero, so that an error of zero is no error.
    least = torch.finfo(sizes.dtype).tiny / torch.finfo(sizes.dtype).eps
    return replace(problem, atol=(floor * problem.rtol * sizes).clamp_min(least))
