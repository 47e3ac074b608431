"""Prints the events of a system: which comparisons trigger them, and the state after each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from warp_phys.systems.compiling.cpp import function_source
from warp_phys.systems.compiling.expression import Expression
from warp_phys.systems.compiling.tracing import SystemGraph, TracedFunction

_POINT = "V t, const V* y, const V* p, const V* u"


def event_source(
    graph: SystemGraph, directions: Sequence[int], held: Mapping[Expression, str]
) -> str:
    """Return the C++ of the events; `switch_source` and what it needs must come before it.

        N_EVENTS
        event_conditions(t, y, p, u, m, c)       whether each condition holds, from comparisons m
        new_state(e, t, y, p, u, m, out)         the state after event e
        new_state_slopes(e, ..., v, m, hy, hp, ht)  its derivatives by the states, row by row, by
                                                 parameters along each direction, likewise, and by
                                                 time; v are the rates of the inputs

    Args:
        graph: The system.
        directions: Directions of differentiation: parameter j as j, others as negative numbers.
        held: The comparisons that are not evaluated but given in m, see `switches.py`.
    """
    conditions = [event.condition for event in graph.events]
    states = [_values(event.new_state) for event in graph.events]
    slopes = [_slopes(event.new_state, directions) for event in graph.events]
    return "\n".join(
        [
            f"static constexpr int N_EVENTS = {len(conditions)};",
            function_source(
                "event_conditions",
                f"{_POINT}, const M* m, M* c",
                {"c": conditions} if conditions else {},
                held,
            ),
            *_by_number("new_state", f"{_POINT}, const M* m, V* out", states, held),
            *_by_number(
                "new_state_slopes",
                f"{_POINT}, const V* v, const M* m, V* hy, V* hp, V* ht",
                slopes,
                held,
            ),
        ]
    )


def _values(new: TracedFunction) -> dict[str, Sequence[Expression]]:
    return {"out": new.values}


def _slopes(new: TracedFunction, directions: Sequence[int]) -> dict[str, Sequence[Expression]]:
    zero = new.values[0].owner.constant(0.0)
    return {
        "hy": [entry for row in new.by_state for entry in row],
        "hp": [row[d] if d >= 0 else zero for row in new.by_parameter for d in directions],
        "ht": new.by_time,
    }


def _by_number(
    name: str,
    parameters: str,
    targets: Sequence[Mapping[str, Sequence[Expression]]],
    held: Mapping[Expression, str],
) -> list[str]:
    """Return one function for each event, and one that chooses among them by a number."""
    functions = [
        function_source(f"{name}_{number}", parameters, target, held, every=True)
        for number, target in enumerate(targets)
    ]
    passed = ", ".join(one.split()[-1] for one in parameters.split(","))
    names = " ".join(f"(void){one};" for one in passed.split(", "))
    calls = [f"    if (e == {e}) {name}_{e}({passed});" for e in range(len(targets))]
    begin = f"static inline void {name}(int e, {parameters}) {{"
    return [*functions, "\n".join([begin, f"    (void)e; {names}", *calls, "}"])]
