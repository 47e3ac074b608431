"""Evaluates trajectories by the closed-form solution of a system."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.systems.dynamics.intervals import walk
from warp_phys.systems.dynamics.problem import Problem, Solution, Status, blank_failures
from warp_phys.systems.forcing.schedule import InputPiece


def solve_closed_form(problem: Problem) -> Solution:
    """Evaluate the closed form, as a function of the time since the start or the last dose.

    Gradients and forward derivatives are propagated.
    """
    padding = problem.times.isinf()
    states = _from_dose_to_dose(problem) if problem.schedule else _from_the_start(problem, padding)
    states, intact = blank_failures(states)
    return Solution(
        states=states.masked_fill(padding[:, :, None], torch.nan),
        error_estimate=torch.zeros_like(problem.start).detach(),
        status=torch.where(intact, int(Status.CONVERGED), int(Status.DIVERGED)),
    )


def _from_the_start(problem: Problem, padding: Tensor) -> Tensor:
    # Padding is infinite; evaluated there, the closed form would put NaN into gradients even where
    # the result is discarded. The initial time is a safe substitute.
    times = torch.where(padding, problem.start[:, None], problem.times)
    states = problem.system.solution_at(
        times - problem.start[:, None], problem.initial[:, :, None], problem.parameters[:, :, None]
    )
    return states.permute(1, 2, 0)


def _from_dose_to_dose(problem: Problem) -> Tensor:
    def move(_: InputPiece | None, start: Tensor, length: Tensor, y: Tensor) -> Tensor:
        return problem.system.solution_at(length, y, problem.parameters)

    # The closed form knows no doses: it restarts from the state after each dose.
    return walk(problem, move)
