"""Trajectories by the system's own closed form."""

from __future__ import annotations

import torch

from warp_phys.systems._problem import Problem, Solution, Status, blank_failures


def solve_closed_form(problem: Problem) -> Solution:
    """Evaluate the closed form at the times since the initial time; differentiable."""
    padding = problem.times.isinf()
    times = torch.where(padding, problem.start[:, None], problem.times)
    states = problem.system.solution_at(
        times - problem.start[:, None], problem.initial[:, :, None], problem.parameters[:, :, None]
    )
    states, intact = blank_failures(states.permute(1, 2, 0))
    return Solution(
        states=states.masked_fill(padding[:, :, None], torch.nan),
        error_estimate=torch.zeros_like(problem.start).detach(),
        status=torch.where(intact, int(Status.CONVERGED), int(Status.DIVERGED)),
    )
