"""The comparisons by which a right-hand side jumps or an event happens, printed as functions.

A comparison a < b in a traced right-hand side, from `torch.where`, `torch.sign` and the like, or in
the condition of an event changes where g = a - b passes through zero. Steps end there, and each
side is integrated with its own branch: `m[k]` holds comparison k as it is on the present side.
"""

from __future__ import annotations

from collections.abc import Sequence

from warp_phys.systems.compiling.conditions import ABOVE, decides
from warp_phys.systems.compiling.cpp import function_source
from warp_phys.systems.compiling.curvature import curvature_source
from warp_phys.systems.compiling.differentiate import gradients
from warp_phys.systems.compiling.discontinuities import Discontinuity
from warp_phys.systems.compiling.event_source import event_source
from warp_phys.systems.compiling.expression import Expression, in_order
from warp_phys.systems.compiling.tracing import SystemGraph

# Those for which g = 0 belongs to the side g > 0.
_WITH_ZERO = ("ge", "lt")
_POINT = "V t, const V* y, const V* p, const V* u"


def switches_of(graph: SystemGraph) -> list[Expression]:
    """Return the comparisons of numbers that decide between branches, or whether events happen.

    Those of the right-hand side come first, then those of the conditions of events. A comparison
    over which the right-hand side is smooth decides nothing, see `discontinuities.py`.

    Example:
        >>> import torch
        >>> from warp_phys.systems import Parameter, State, System
        >>> from warp_phys.systems.compiling.tracing import trace_system
        >>> class Valve(System):
        ...     states = (State("level", "1"),)
        ...     parameters = (Parameter("top", "1", range=(1.0, 2.0)),)
        ...     def rhs(self, t, y, p):
        ...         return (torch.where(y[0] < p.top, 1.0, 0.0),)
        >>> switches_of(trace_system(Valve()))
        [lt(y[0], p[0])]
    """
    conditions = [event.condition for event in graph.events]
    changing = [one for one, what in graph.discontinuities.items() if what != Discontinuity.NONE]
    return list(dict.fromkeys([*changing, *filter(decides, in_order(conditions))]))


def switch_source(graph: SystemGraph, directions: Sequence[int], *, implicit: bool) -> str:
    """Return the C++ of the switches; `system_source` must come before it.

        N_SWITCHES, SWITCH_ABOVE[]                whether comparison k holds where g_k > 0
        ABOVE_AT_ZERO[]                           whether g_k = 0 counts as above
        switch_values(t, y, p, u, g)              g
        switch_slopes(t, y, p, u, v, gy, gp, gt)  its derivatives, those by parameters along each
                                                  direction; v are the rates of the inputs
        held_rhs(t, y, p, u, m, out)              the right-hand side with comparisons as in m, and
        held_jacobian(..., m, out, jy, jp)        its derivatives; likewise held_linearization and
                                                  held_curvature, if `implicit`; all but the last
                                                  are empty without switches

    and those of the events, see `event_source.py`.

    Args:
        graph: The system.
        directions: Directions of differentiation: parameter j as j, others as negative numbers.
        implicit: Whether there are implicit steps.
    """
    found = switches_of(graph)
    values = [one.arguments[0] - one.arguments[1] for one in found]
    held = {one: f"m[{place}]" for place, one in enumerate(found)}
    rhs = graph.rhs
    states = [entry for row in rhs.by_state for entry in row]
    parameters = [entry for row in rhs.by_parameter for entry in row]
    # Without switches these functions are not called: what they would repeat is left out.
    out = {"out": rhs.values} if found else {}
    jacobian = {**out, "jy": states, "jp": parameters} if found else {}
    linear = {**out, "jy": states, "jt": rhs.by_time} if found else {}
    point, masks = _POINT, "const M* m"
    functions = [
        function_source("switch_values", f"{point}, V* g", {"g": values} if found else {}),
        _slopes(graph, values, directions),
        function_source("held_rhs", f"{point}, {masks}, V* out", out, held),
        function_source("held_jacobian", f"{point}, {masks}, V* out, V* jy, V* jp", jacobian, held),
    ]
    if implicit:
        functions += [
            function_source(
                "held_linearization",
                f"{point}, const V* v, {masks}, V* out, V* jy, V* jt",
                linear,
                held,
            ),
            curvature_source(graph, directions, held),
        ]
    return "\n".join(
        [
            f"static constexpr int N_SWITCHES = {len(found)};",
            _truths("SWITCH_ABOVE", [one.operation in ABOVE for one in found]),
            _truths("ABOVE_AT_ZERO", [one.operation in _WITH_ZERO for one in found]),
            *functions,
            event_source(graph, directions, held),
        ]
    )


def _truths(name: str, values: Sequence[bool]) -> str:
    text = ", ".join("true" if value else "false" for value in values) or "false"
    return f"static constexpr bool {name}[] = {{{text}}};"


def _slopes(graph: SystemGraph, values: Sequence[Expression], directions: Sequence[int]) -> str:
    """Return `switch_slopes`; derivatives that are zero are written, too."""
    names = {
        "gy": [f"y[{index}]" for index in range(graph.n_states)],
        "gp": [f"p[{index}]" if index >= 0 else "" for index in directions],
    }
    inputs = [f"u[{index}]" for index in range(graph.n_inputs)]
    wanted = {name for listed in names.values() for name in listed if name}
    found = gradients(values, [*sorted(wanted), "t", *inputs])
    targets: dict[str, list[Expression]] = {"gy": [], "gp": [], "gt": []}
    for value, slopes in zip(values, found, strict=True):
        zero = value.owner.constant(0.0)
        for array, listed in names.items():
            targets[array] += [slopes.get(name, zero) for name in listed]
        rate = slopes.get("t", zero)
        for index, name in enumerate(inputs):
            rate = rate + slopes.get(name, zero) * value.owner.variable(f"v[{index}]")
        targets["gt"].append(rate)
    parameters = f"{_POINT}, const V* v, V* gy, V* gp, V* gt"
    return function_source("switch_slopes", parameters, targets if values else {}, every=True)
