"""Times at which a right-hand side jumps by itself, as stops that no step crosses.

A step could otherwise leap over a pulse between two samples, at whose ends the right-hand side
looks as if nothing had happened.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from warp_phys.systems.compiling.differentiate import gradients
from warp_phys.systems.compiling.expression import Expression, evaluate
from warp_phys.systems.compiling.switches import switches_of
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.forcing.doses import Dose
from warp_phys.systems.model.system import System

# The neighbor of zero is so near that the reciprocal of the step to it is infinite.
_NEAREST = 1e-100
# For each system the switching functions of time and parameters alone, with their rates.
_KNOWN: WeakKeyDictionary[System, list[tuple[Expression, Expression]]] = WeakKeyDictionary()


def switch_stops(system: System, parameters: Tensor, start: Tensor) -> list[Dose]:
    """Return doses of nothing where comparisons of the time with numbers or parameters change.

    There are two for each, immediately before and after the change, so that either side is
    integrated with its own branch.

    Args:
        system: The system.
        parameters: (N, P).
        start: (N,), initial times; earlier changes are left out.
    """
    if system.has_solution or not (found := _linear_in_time(system)):
        return []
    columns = parameters.detach().cpu().double().T.numpy()
    values = {f"p[{place}]": column for place, column in enumerate(columns)}
    stops = []
    for function, rate in found:
        at_zero, slope = evaluate([function, rate], {**values, "t": 0.0})
        time = torch.as_tensor(-at_zero / slope).to(start.detach()).expand(len(start)).clone()
        away = (torch.nextafter(time, torch.full_like(time, torch.inf)) - time).clamp_min(_NEAREST)
        for stop in (time - away, time + away):
            stop = torch.where(stop.isfinite() & (stop > start.detach()), stop, torch.nan)
            stops.append(Dose(system.state_names[0], 0.0, stop))
    return stops


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
