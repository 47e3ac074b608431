"""Trajectories by the system's own closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.systems.dynamics.intervals import walk
from warp_phys.systems.dynamics.problem import Problem, Solution, Status, blank_failures
from warp_phys.systems.forcing.schedule import Drive


def solve_closed_form(problem: Problem) -> Solution:
    """Evaluate the closed form at the times since the initial time, or since a dose.

    Gradients and forward derivatives are followed.
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
    times = torch.where(padding, problem.start[:, None], problem.times)
    states = problem.system.solution_at(
        times - problem.start[:, None], problem.initial[:, :, None], problem.parameters[:, :, None]
    )
    return states.permute(1, 2, 0)


def _from_dose_to_dose(problem: Problem) -> Tensor:
    def move(_: Drive | None, start: Tensor, length: Tensor, y: Tensor) -> Tensor:
        return problem.system.solution_at(length, y, problem.parameters)

    return walk(problem, move)
