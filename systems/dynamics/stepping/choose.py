"""Adaptive integration, by compiled code if possible, otherwise by PyTorch."""

from __future__ import annotations

from warp_phys.systems.dynamics.problem import Problem, Solution
from warp_phys.systems.dynamics.stepping.adaptive import solve_adaptive
from warp_phys.systems.dynamics.stepping.compiled import flow_library, solve_compiled


def solve_stepwise(problem: Problem, method: str) -> Solution:
    """Integrate with a method of `STEPPERS`, without gradients."""
    library = flow_library(problem, method)
    if library is None:
        return solve_adaptive(problem, method)
    return solve_compiled(problem, method, library)
