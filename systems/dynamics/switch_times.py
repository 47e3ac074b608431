"""Times at which a right-hand side jumps by itself, as stops that no step crosses.

For methods that do not hold the comparisons of a right-hand side: a step could otherwise leap over
a pulse between two samples, at whose ends the right-hand side looks as if nothing had happened.
"""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from warp_phys.systems.compiling.differentiate import gradients
from warp_phys.systems.compiling.expression import Expression, evaluate
from warp_phys.systems.compiling.switches import switches_of
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.dynamics.problem import Problem
from warp_phys.systems.forcing.schedule import Schedule
from warp_phys.systems.model.system import System

# The neighbor of zero is so near that the reciprocal of the step to it is infinite.
_NEAREST = 1e-100
# For each system the switching functions of time and parameters alone, with their rates.
_KNOWN: WeakKeyDictionary[System, list[tuple[Expression, Expression]]] = WeakKeyDictionary()


def with_switch_stops(problem: Problem) -> Problem:
    """Return the problem with stops where comparisons of time and parameters change.

    There are two for each, immediately before and after the change, so that either side is
    integrated with its own branch.
    """
    found = _linear_in_time(problem.system)
    if not found:
        return problem
    times = torch.stack([time for pair in found for time in _around(problem, *pair)], dim=1)
    schedule = problem.schedule
    if schedule is None:
        schedule = Schedule(times[:, :0], None, None, None, None)
    return replace(problem, schedule=schedule.with_stops(times))


def _around(problem: Problem, function: Expression, rate: Expression) -> list[Tensor]:
    """Return the neighbors (N,) of the zero of a t + b, infinite up to the initial time."""
    columns = problem.parameters.detach().cpu().double().numpy()
    values = {f"p[{place}]": column for place, column in enumerate(columns)}
    at_zero, slope = evaluate([function, rate], {**values, "t": 0.0})
    start = problem.start.detach()
    time = torch.as_tensor(-at_zero / slope).to(start).expand(len(start)).clone()
    away = (torch.nextafter(time, torch.full_like(time, torch.inf)) - time).clamp_min(_NEAREST)
    near = [time - away, time + away]
    return [torch.where(one.isfinite() & (one > start), one, torch.inf) for one in near]


def _linear_in_time(system: System) -> list[tuple[Expression, Expression]]:
    """Return g and dg/dt for comparisons g = a t + b(p) with zero."""
    if system not in _KNOWN:
        graph = translated(system)
        _KNOWN[system] = []
        for comparison in () if graph is None else switches_of(graph):
            function = comparison.arguments[0] - comparison.arguments[1]
            others = [f"y[{place}]" for place in range(len(system.states))]
            others += [f"u[{place}]" for place in range(len(system.inputs))]
            (slopes,) = gradients([function], ["t", *others])
            if set(slopes) == {"t"} and not gradients([slopes["t"]], ["t"])[0]:
                _KNOWN[system].append((function, slopes["t"]))
    return _KNOWN[system]
