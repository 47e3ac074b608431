"""What methods cannot do, and what to use instead."""

from __future__ import annotations

from torch import Tensor

from warp_phys.systems.compiling.differentiate import gradients
from warp_phys.systems.compiling.discontinuities import Discontinuity
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.dynamics.scipy_methods import SCIPY_METHODS
from warp_phys.systems.dynamics.stepping.compiled import flow_library, why_not_compiled
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System

TORCHDIFFEQ_METHODS = ("rk4", "torchdiffeq")


def check_method(problem: Problem, method: str) -> None:
    """Refuse a method that cannot do what a problem asks.

    Raises:
        UsageError: No closed form, no derivatives of the kind that is asked for, or no events.
    """
    name = type(problem.system).__name__
    if method == "solution" and not problem.system.has_solution:
        raise UsageError(f"{name} has no closed form; use method='auto'")
    if method not in ("auto", "solution", "rk4") and problem.forward_mode:
        raise UsageError(
            f"method {method!r} carries no forward derivatives (torch.func.jvp); use 'rk4'"
        )
    if method in TORCHDIFFEQ_METHODS and problem.system.events:
        raise UsageError(
            f"method {method!r} knows no events, which {name} or its doses have; use "
            "method='auto', 'dop853', 'rk45', 'rodas5p' or 'scipy'"
        )
    if method in SCIPY_METHODS and problem.backward_mode:
        raise UsageError(
            f"method {method!r} gives no gradients, and an argument requires them; use 'auto', "
            "'torchdiffeq' or 'rk4', or detach the arguments"
        )


def check_gradients(problem: Problem, method: str) -> None:
    """Refuse gradients of a method that does not follow jumps: the motion of a jump is missing.

    Raises:
        UsageError: The right-hand side jumps at a time that depends on states or parameters.
    """
    if not (problem.backward_mode or problem.forward_mode):
        return
    sources: list[Tensor] = [problem.initial, problem.parameters]
    sources += [] if problem.schedule is None else problem.schedule.tensors()
    wanted = problem.forward_mode or any(one.requires_grad for one in sources)
    jumps = moving_jump(problem.system) if wanted else ""
    if jumps:
        raise UsageError(
            f"the right-hand side of {type(problem.system).__name__} jumps where {jumps} changes, "
            f"and gradients by {method!r} lack the motion of that jump; use method='auto', "
            "'dop853', 'rk45' or 'rodas5p' with compiled code, whose gradients by parameters and "
            "initial states contain it, or detach the arguments"
        )


def no_event_gradients(problem: Problem) -> UsageError:
    """Return the error for gradients across events that there are not."""
    remedy = "detach times, inputs and amounts of doses"
    if flow_library(problem, "dop853") is None:
        remedy = f"here {why_not_compiled(problem)}; detach the arguments"
    return UsageError(
        f"gradients across the events of {type(problem.system).__name__} are those by parameters "
        f"and initial states, from compiled code; {remedy}"
    )


def moving_jump(system: System, letters: str = "ypu") -> str:
    """Return a comparison over which the right-hand side jumps at no fixed time, or nothing.

    Args:
        system: The system.
        letters: Of what the time is to depend: states y, parameters p or inputs u.
    """
    graph = translated(system)
    if graph is None:
        return ""
    counts = {"y": graph.n_states, "p": graph.n_parameters, "u": graph.n_inputs}
    names = [f"{letter}[{place}]" for letter in letters for place in range(counts[letter])]
    for comparison, what in graph.discontinuities.items():
        function = comparison.arguments[0] - comparison.arguments[1]
        if what == Discontinuity.JUMP and gradients([function], names)[0]:
            return repr(comparison)
    return ""
