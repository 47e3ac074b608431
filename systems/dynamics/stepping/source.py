"""Assembles the C++ source of kernels from a system's code, a method's tableau and the steppers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

from warp_phys.systems.compiling.cpp import PRELUDE, system_source
from warp_phys.systems.compiling.switches import switch_source
from warp_phys.systems.compiling.tracing import SystemGraph
from warp_phys.systems.dynamics.stepping.rosenbrock_tableau import (
    RODAS5P_TABLEAU,
    RosenbrockTableau,
)
from warp_phys.systems.dynamics.stepping.tableaus import DOP853_TABLEAU, RK45_TABLEAU, Tableau
from warp_phys.systems.model.system import System

# Trajectories in a vector: eight doubles fill one register of AVX-512 or two of AVX2.
LANES = 8

_TABLEAUS: dict[str, Tableau | RosenbrockTableau] = {
    tableau.name: tableau for tableau in (RK45_TABLEAU, DOP853_TABLEAU, RODAS5P_TABLEAU)
}


def flow_source(graph: SystemGraph, method: str, directions: Sequence[int]) -> str:
    """Return the source of a library with the function `flow`, see `flow.cpp`.

    Args:
        graph: The system.
        method: "dop853", "rk45" or "rodas5p".
        directions: Directions of the forward sensitivities: parameter j as j, initial state s as
            -1 - s.
    """
    return "\n".join(
        [
            _base(graph, method, directions),
            *_method(method),
            *map(
                _text,
                (
                    "events.cpp",
                    "switching.cpp",
                    "following.cpp",
                    "problem.cpp",
                    "adaptive.cpp",
                    "flow.cpp",
                ),
            ),
        ]
    )


def planned_source(
    graph: SystemGraph, method: str, directions: Sequence[int], held: Sequence[bool]
) -> str:
    """Return the source that kernels with planned steps from sample to sample build on.

    It ends with the policies `Planned` and `ClosedForm`; the consumer of the samples is appended.

    Args:
        graph: The system.
        method: As in `flow_source`.
        directions: Likewise.
        held: Which inputs keep their value until the next sample; the others are linear.
    """
    return "\n".join(
        [
            _base(graph, method, directions),
            *_method(method),
            constants("bool HELD", list(map(int, held))),
            f"static constexpr bool ANY_HELD = {int(any(held))};",
            *map(
                _text,
                ("samples.cpp", "closed_form.cpp", "events.cpp", "switching.cpp", "planned.cpp"),
            ),
        ]
    )


def constants(declaration: str, values: Sequence[float]) -> str:
    """Return the declaration of a constant array in C++, with one zero if there are no values.

    `repr` gives the shortest decimal that reads back as the same double. C++ has no empty arrays.
    """
    return f"static constexpr {declaration}[] = {{{', '.join(map(repr, values or (0,)))}}};"


def _is_implicit(method: str) -> bool:
    return isinstance(_TABLEAUS[method], RosenbrockTableau)


def _base(graph: SystemGraph, method: str, directions: Sequence[int]) -> str:
    return "\n".join(
        [
            f"#include <cmath>\nstatic constexpr int W = {LANES};",
            PRELUDE,
            system_source(graph),
            f"static constexpr int N_DIRECTIONS = {len(directions)};",
            constants("int DIRECTION", directions),
            # Further derivatives take time to find and to compile, and explicit steps need none.
            switch_source(graph, directions, implicit=_is_implicit(method)),
            "static constexpr bool HOLDS_SWITCHES = N_SWITCHES > 0;",
            _text("lanes.cpp"),
            _text("derivatives.cpp"),
        ]
    )


def _method(method: str) -> list[str]:
    """Return a method as the template `Method<ROWS>`."""
    tableau = _TABLEAUS[method]
    explicit = isinstance(tableau, Tableau)
    kind = "RungeKutta" if explicit else "Rosenbrock"
    rows = _explicit(tableau) if isinstance(tableau, Tableau) else _implicit(tableau)
    name = method.upper()
    return [
        _text("runge_kutta.cpp" if explicit else "rosenbrock.cpp"),
        f"struct {name} {{",
        f"static constexpr int ERROR_ORDER = {tableau.error_order};",
        *rows,
        "};",
        f"template <int ROWS> using Method = {kind}<{name}, ROWS>;",
    ]


def _explicit(tableau: Tableau) -> list[str]:
    stages = len(tableau.weights)
    return [
        f"static constexpr double STABILITY = {tableau.stability!r};",
        f"static constexpr int N_STAGES = {stages};",
        _table("STAGE_A", [(), *tableau.stages], stages),
        constants("double STAGE_C", (0.0, *tableau.nodes)),
        constants("double WEIGHTS", tableau.weights),
        f"static constexpr int N_ERRORS = {len(tableau.errors)};",
        _table("ERRORS", tableau.errors, stages + 1),
        f"static constexpr int N_EXTRA = {len(tableau.extra_nodes)};",
        _table("EXTRA_A", tableau.extra_stages, stages + 1 + len(tableau.extra_nodes)),
        constants("double EXTRA_C", tableau.extra_nodes),
        f"static constexpr int N_INNER = {len(tableau.interpolation)};",
        _table("INNER", tableau.interpolation, stages + 1 + len(tableau.extra_nodes)),
    ]


def _implicit(tableau: RosenbrockTableau) -> list[str]:
    stages = len(tableau.weights)
    return [
        f"static constexpr int N_STAGES = {stages};",
        f"static constexpr double GAMMA = {tableau.gamma!r};",
        _table("STAGE_A", [(), *tableau.stages], stages),
        constants("double STAGE_C", tableau.nodes),
        _table("COUPLINGS", [(), *tableau.couplings], stages),
        constants("double TIME_WEIGHTS", tableau.time_weights),
        constants("double WEIGHTS", tableau.weights),
        _table("INTERPOLATION", tableau.interpolation, stages),
    ]


def _table(name: str, rows: Sequence[Sequence[float]], width: int) -> str:
    """Return the declaration of a matrix, with rows padded with zeros and at least one row."""
    full = [(*row, *(0.0,) * (width - len(row))) for row in rows] or [(0.0,) * width]
    text = ", ".join(f"{{{', '.join(map(repr, row))}}}" for row in full)
    return f"static constexpr double {name}[{len(full)}][{width}] = {{{text}}};"


@lru_cache
def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def stack_needed(system: System, n_directions: int) -> int:
    """Return about how many bytes the lanes take: stages, dense output and matrices.

    There are three solvers, one for the whole step of states and derivatives, (1 + D) S rows, and
    two for its halves, S rows each. 40 vectors a row bound the stages and coefficients of DOP853.
    """
    n_states, n_parameters = len(system.states), len(system.parameters)
    rows = n_states * (3 + n_directions)
    matrices = n_states * (5 * n_states + n_parameters * min(n_directions, 1))
    return 8 * LANES * (40 * rows + matrices)
