"""Prints the derivatives of a linearization, which the derivative of an implicit step needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from warp_phys.systems.compiling.cpp import function_source
from warp_phys.systems.compiling.differentiate import gradients
from warp_phys.systems.compiling.expression import Expression
from warp_phys.systems.compiling.tracing import SystemGraph


@dataclass(frozen=True)
class _Term:
    """One second derivative: of an entry of a linearization, along one variable.

    Attributes:
        target: The entry, as a place in C++.
        place: Position of the second derivative among all of them.
        along: Index of the state, or of the parameter, by which it is.
    """

    target: str
    place: int
    along: int


def curvature_source(graph: SystemGraph, directions: Sequence[int]) -> str:
    """Return the C++ of two functions; `system_source` and `DIRECTION` must come before it.

        rhs_curvature(t, y, p, u, v, out)   the N_CURVATURE second derivatives that are not zero
        curve(d, c, s, jy, jt)              derivatives of df/dy and df/dt along direction d

    Along a direction q in which the states change by s = dy/dq, the linearization of the right-hand
    side changes by d(df/dy)/dq = f_yy s + f_yq, and df/dt likewise; `c` is what `rhs_curvature`
    wrote. Entries of jy that `RHS_Y` marks and all of jt are written.

    Args:
        graph: The system.
        directions: Directions of differentiation: parameter j as j, others as negative numbers.
    """
    wanted = [direction for direction in directions if direction >= 0]
    values, by_state, by_parameter = _second_derivatives(graph, wanted)
    size = graph.n_states
    lines = [f"static constexpr int N_CURVATURE = {len(values)};"]
    parameters = "V t, const V* y, const V* p, const V* u, const V* v, V* out"
    lines.append(function_source("rhs_curvature", parameters, {"out": values}))
    lines.append("static inline void curve(int d, const V* c, const V* s, V* jy, V* jt) {")
    lines.append("    (void)d; (void)c; (void)s;")
    lines += [
        f"    jy[{row * size + column}] = splat(0.0);"
        for row, entries in enumerate(graph.rhs.by_state)
        for column, entry in enumerate(entries)
        if not entry.equals(0.0)
    ]
    lines += [f"    jt[{row}] = splat(0.0);" for row in range(size)]
    lines += [f"    {term.target} += c[{term.place}] * s[{term.along}];" for term in by_state]
    for number, direction in enumerate(directions):
        terms = [term for term in by_parameter if term.along == direction]
        if terms:
            sums = " ".join(f"{term.target} += c[{term.place}];" for term in terms)
            lines.append(f"    if (d == {number}) {{ {sums} }}")
    return "\n".join([*lines, "}"]) + "\n"


def _second_derivatives(
    graph: SystemGraph, parameters: Sequence[int]
) -> tuple[list[Expression], list[_Term], list[_Term]]:
    """Return second derivatives, and where those by states and by parameters enter."""
    rhs, size = graph.rhs, graph.n_states
    entries = {
        f"jy[{row * size + column}]": entry
        for row, line in enumerate(rhs.by_state)
        for column, entry in enumerate(line)
    } | {f"jt[{row}]": entry for row, entry in enumerate(rhs.by_time)}
    states = {f"y[{index}]": index for index in range(size)}
    known = {f"p[{index}]": index for index in dict.fromkeys(parameters)}
    slopes = gradients(list(entries.values()), [*states, *known])
    values: list[Expression] = []
    by_state: list[_Term] = []
    by_parameter: list[_Term] = []
    for target, found in zip(entries, slopes, strict=True):
        for name, slope in found.items():
            inner = name in states
            index = states[name] if inner else known[name]
            (by_state if inner else by_parameter).append(_Term(target, len(values), index))
            values.append(slope)
    return values, by_state, by_parameter
