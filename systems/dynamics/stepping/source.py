"""The C++ source of a system's flow: the system's own code, a method's coefficients, the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

from warp_phys.systems.compiling.cpp import PRELUDE, system_source
from warp_phys.systems.compiling.tracing import SystemGraph
from warp_phys.systems.dynamics.stepping.rosenbrock_tableau import (
    RODAS5P_TABLEAU,
    RosenbrockTableau,
)
from warp_phys.systems.dynamics.stepping.tableaus import DOP853_TABLEAU, RK45_TABLEAU, Tableau

LANES = 8

_TABLEAUS: dict[str, Tableau | RosenbrockTableau] = {
    tableau.name: tableau for tableau in (RK45_TABLEAU, DOP853_TABLEAU, RODAS5P_TABLEAU)
}


def flow_source(graph: SystemGraph, method: str, directions: Sequence[int]) -> str:
    """Return the source of a library with the function `flow`, see `adaptive.cpp`.

    Args:
        graph: The system.
        method: "dop853", "rk45" or "rodas5p".
        directions: What the states are differentiated by along the way: parameter j as j, initial
            state s as -1 - s.
    """
    tableau = _TABLEAUS[method]
    if isinstance(tableau, Tableau):
        constants, method_file = _explicit(tableau), "runge_kutta.cpp"
    else:
        constants, method_file = _implicit(tableau), "rosenbrock.cpp"
    return "\n".join(
        [
            f"#include <cmath>\nstatic constexpr int W = {LANES};",
            PRELUDE,
            system_source(graph),
            f"static constexpr int N_DIRECTIONS = {len(directions)};",
            _numbers("int DIRECTION", directions or (0,)),
            f"static constexpr int ERROR_ORDER = {tableau.error_order};",
            *constants,
            *map(_text, ("problem.cpp", method_file, "adaptive.cpp")),
        ]
    )


def _explicit(tableau: Tableau) -> list[str]:
    stages = len(tableau.weights)
    return [
        f"static constexpr double STABILITY = {tableau.stability!r};",
        f"static constexpr int N_STAGES = {stages};",
        _table("STAGE_A", [(), *tableau.stages], stages),
        _numbers("double STAGE_C", (0.0, *tableau.nodes)),
        _numbers("double WEIGHTS", tableau.weights),
        f"static constexpr int N_ERRORS = {len(tableau.errors)};",
        _table("ERRORS", tableau.errors, stages + 1),
        f"static constexpr int N_EXTRA = {len(tableau.extra_nodes)};",
        _table("EXTRA_A", tableau.extra_stages, stages + 1 + len(tableau.extra_nodes)),
        _numbers("double EXTRA_C", tableau.extra_nodes or (0.0,)),
        f"static constexpr int N_INNER = {len(tableau.interpolation)};",
        _table("INNER", tableau.interpolation, stages + 1 + len(tableau.extra_nodes)),
    ]


def _implicit(tableau: RosenbrockTableau) -> list[str]:
    stages = len(tableau.weights)
    return [
        "static constexpr double STABILITY = __builtin_inf();",
        f"static constexpr int N_STAGES = {stages};",
        f"static constexpr double GAMMA = {tableau.gamma!r};",
        _table("STAGE_A", [(), *tableau.stages], stages),
        _numbers("double STAGE_C", tableau.nodes),
        _table("COUPLINGS", [(), *tableau.couplings], stages),
        _numbers("double TIME_WEIGHTS", tableau.time_weights),
        _numbers("double WEIGHTS", tableau.weights),
        _table("INTERPOLATION", tableau.interpolation, stages),
    ]


def _numbers(declaration: str, values: Sequence[float]) -> str:
    return f"static constexpr {declaration}[] = {{{', '.join(map(repr, values))}}};"


def _table(name: str, rows: Sequence[Sequence[float]], width: int) -> str:
    """Return a matrix, each row filled up with zeros; never one without rows."""
    full = [(*row, *(0.0,) * (width - len(row))) for row in rows] or [(0.0,) * width]
    text = ", ".join(f"{{{', '.join(map(repr, row))}}}" for row in full)
    return f"static constexpr double {name}[{len(full)}][{width}] = {{{text}}};"


@lru_cache
def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
