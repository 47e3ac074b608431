"""Adaptive integration, by compiled code if possible, otherwise by PyTorch."""

from __future__ import annotations

from warp_phys.systems.dynamics.problem import Problem, Solution
from warp_phys.systems.dynamics.stepping.adaptive import solve_adaptive
from warp_phys.systems.dynamics.stepping.compiled import (
    flow_library,
    solve_compiled,
    why_not_compiled,
)
from warp_phys.systems.errors import UsageError


def solve_stepwise(problem: Problem, method: str) -> Solution:
    """Integrate with a method of `STEPPERS`, without gradients.

    Raises:
        UsageError: The system has events, and cannot be compiled.
    """
    library = flow_library(problem, method)
    if library is None and problem.system.events:
        raise UsageError(
            f"method {method!r} needs compiled code for the events of {problem.system.name}, but "
            f"{why_not_compiled(problem)}; use method='auto' or 'scipy'"
        )
    if library is None:
        return solve_adaptive(problem, method)
    return solve_compiled(problem, method, library)
