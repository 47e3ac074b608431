"""Prints expressions as C++ that computes several trajectories at once, one in each lane."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from weakref import WeakKeyDictionary

from warp_phys.systems.compiling.expression import Expression, in_order
from warp_phys.systems.compiling.tracing import SystemGraph, TracedFunction

# The C++ that `system_source` needs before it. `W` must be defined before, as a constant power of
# two. `V` holds W numbers, `M` the W truth values of a comparison, and operators act on every lane.
# The loops over lanes call libm one number at a time: its vector versions may be wrong by 4 units
# in the last place, and may fail for values that are not finite.
PRELUDE = r"""
typedef double V __attribute__((vector_size(8 * W)));
typedef decltype(V() < V()) M;

static inline V splat(double x) { return x - V(); }
static inline V select(M mask, V a, V b) { return mask ? a : b; }
// A NaN on either side wins, as in torch.
static inline V vmax(V a, V b) { return ((a > b) | (a != a)) ? a : b; }
static inline V vmin(V a, V b) { return ((a < b) | (a != a)) ? a : b; }

#define LANES_1(name, call)                            \
    static inline V name(V x) {                        \
        V result;                                      \
        for (int lane = 0; lane < W; ++lane) {         \
            const double a = x[lane];                  \
            result[lane] = call;                       \
        }                                              \
        return result;                                 \
    }
#define LANES_2(name, call)                            \
    static inline V name(V x, V y) {                   \
        V result;                                      \
        for (int lane = 0; lane < W; ++lane) {         \
            const double a = x[lane], b = y[lane];     \
            result[lane] = call;                       \
        }                                              \
        return result;                                 \
    }
static inline double lane_remainder(double a, double b) {
    const double rest = __builtin_fmod(a, b);
    return rest != 0.0 && (b < 0.0) != (rest < 0.0) ? rest + b : rest;
}
LANES_1(vsqrt, __builtin_sqrt(a))
LANES_1(vabs, __builtin_fabs(a))
LANES_1(vexp, __builtin_exp(a))
LANES_1(vexpm1, __builtin_expm1(a))
LANES_1(vlog, __builtin_log(a))
LANES_1(vlog1p, __builtin_log1p(a))
LANES_1(vlog2, __builtin_log2(a))
LANES_1(vlog10, __builtin_log10(a))
LANES_1(vsin, __builtin_sin(a))
LANES_1(vcos, __builtin_cos(a))
LANES_1(vtan, __builtin_tan(a))
LANES_1(vasin, __builtin_asin(a))
LANES_1(vacos, __builtin_acos(a))
LANES_1(vatan, __builtin_atan(a))
LANES_1(vsinh, __builtin_sinh(a))
LANES_1(vcosh, __builtin_cosh(a))
LANES_1(vtanh, __builtin_tanh(a))
LANES_1(vasinh, __builtin_asinh(a))
LANES_1(vacosh, __builtin_acosh(a))
LANES_1(vatanh, __builtin_atanh(a))
LANES_1(verf, __builtin_erf(a))
LANES_1(verfc, __builtin_erfc(a))
LANES_1(vfloor, __builtin_floor(a))
LANES_1(vceil, __builtin_ceil(a))
LANES_1(vtrunc, __builtin_trunc(a))
LANES_1(vround, __builtin_nearbyint(a))
LANES_2(vpow, __builtin_pow(a, b))
LANES_2(vatan2, __builtin_atan2(a, b))
LANES_2(vhypot, __builtin_hypot(a, b))
LANES_2(vfmod, __builtin_fmod(a, b))
LANES_2(vremainder, lane_remainder(a, b))
#undef LANES_1
#undef LANES_2
"""

_OPERATORS = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "neg": "-{}",
    "lt": "{} < {}",
    "le": "{} <= {}",
    "gt": "{} > {}",
    "ge": "{} >= {}",
    "eq": "{} == {}",
    "ne": "{} != {}",
    "and": "{} & {}",
    "or": "{} | {}",
    "not": "~{}",
    "select": "select({}, {}, {})",
    "maximum": "vmax({}, {})",
    "minimum": "vmin({}, {})",
}


# Printing a large system takes longer than a small integration.
_SOURCES: WeakKeyDictionary[SystemGraph, str] = WeakKeyDictionary()


def system_source(graph: SystemGraph) -> str:
    """Return the C++ of all functions of a system; `PRELUDE` must come before it.

    With V t, and arrays of V for states y, parameters p and inputs u,

        rhs(t, y, p, u, out)             rhs_jacobian(t, y, p, u, out, jy, jp)
                                         rhs_linearization(t, y, p, u, v, out, jy, jt)
        observe(t, y, p, u, out)         observe_jacobian(t, y, p, u, out, jy, jp)
        solution(t, y, p, out)           solution_jacobian(t, y, p, out, jy, jp)
        initial_state(p, out)            initial_state_jacobian(p, out, jp)

    write values to `out`, which must not overlap what is read, and derivatives row by row: those
    by the states to jy[row * N_STATES + state], by the parameters to jp[row * N_PARAMETERS + ...],
    by time, along which the inputs change at the rates v, to jt[row].
    If the system has no closed form or no initial state, those functions are defined but empty.
    Entries of Jacobians that are zero for all values are not written: the arrays `RHS_Y`,
    `RHS_P`, `OBS_Y`, `OBS_P`, `SOL_Y`, `SOL_P` and `INI_P` mark the entries that are written.
    """
    if graph not in _SOURCES:
        _SOURCES[graph] = _printed(graph)
    return _SOURCES[graph]


def _printed(graph: SystemGraph) -> str:
    functions = (
        ("rhs", "RHS", graph.rhs, graph.n_states, "V t, const V* y, const V* p, const V* u"),
        (
            "observe",
            "OBS",
            graph.observe,
            graph.n_outputs,
            "V t, const V* y, const V* p, const V* u",
        ),
        ("solution", "SOL", graph.solution, graph.n_states, "V t, const V* y, const V* p"),
        ("initial_state", "INI", graph.initial_state, graph.n_states, "const V* p"),
    )
    parts = [_constants(graph)]
    for name, prefix, traced, rows, parameters in functions:
        parts += _patterns(graph, prefix, traced, rows)
        parts += _functions(name, traced, parameters)
    parts.append(_linearization(graph.rhs))
    return "\n".join(parts) + "\n"


def _constants(graph: SystemGraph) -> str:
    numbers = {
        "N_STATES": graph.n_states,
        "N_PARAMETERS": graph.n_parameters,
        "N_INPUTS": graph.n_inputs,
        "N_OUTPUTS": graph.n_outputs,
    }
    truths = {
        "HAS_SOLUTION": graph.solution is not None,
        "HAS_INITIAL_STATE": graph.initial_state is not None,
        "OBSERVES_STATES": graph.observes_states,
        "CHANGES_IN_TIME": not all(entry.equals(0.0) for entry in graph.rhs.by_time),
    }
    lines = [f"static constexpr int {name} = {value};" for name, value in numbers.items()]
    lines += [f"static constexpr bool {name} = {_bool(value)};" for name, value in truths.items()]
    return "\n".join(lines)


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _patterns(
    graph: SystemGraph, prefix: str, traced: TracedFunction | None, rows: int
) -> list[str]:
    """Return arrays that tell which entries of the two Jacobians are not zero; never empty ones."""
    sides = {"Y": (graph.n_states, "by_state"), "P": (graph.n_parameters, "by_parameter")}
    lines = []
    for letter, (columns, name) in sides.items():
        entries = [entry for row in getattr(traced, name, ()) for entry in row]
        size = rows * columns
        known = [not entry.equals(0.0) for entry in entries] or [False] * size or [False]
        values = ", ".join(map(_bool, known))
        lines.append(f"static constexpr bool {prefix}_{letter}[{max(size, 1)}] = {{{values}}};")
    return lines


def _functions(name: str, traced: TracedFunction | None, parameters: str) -> list[str]:
    """Return a function of the values, and one of the values and their Jacobians."""
    arrays = ["jy", "jp"] if "V* y" in parameters else ["jp"]
    targets: dict[str, Sequence[Expression]] = {}
    jacobians: dict[str, Sequence[Expression]] = {}
    if traced is not None:
        targets = {"out": traced.values}
        sides = {"jy": traced.by_state, "jp": traced.by_parameter}
        jacobians = {key: [entry for row in sides[key] for entry in row] for key in arrays}
    slots = "".join(f", V* {key}" for key in arrays)
    return [
        function_source(name, f"{parameters}, V* out", targets),
        function_source(
            f"{name}_jacobian", f"{parameters}, V* out{slots}", {**targets, **jacobians}
        ),
    ]


def _linearization(traced: TracedFunction) -> str:
    """Return the function of f, df/dy and df/dt that a Rosenbrock method needs."""
    targets = {
        "out": traced.values,
        "jy": [entry for row in traced.by_state for entry in row],
        "jt": traced.by_time,
    }
    parameters = "V t, const V* y, const V* p, const V* u, const V* v, V* out, V* jy, V* jt"
    return function_source("rhs_linearization", parameters, targets)


def function_source(
    name: str,
    parameters: str,
    targets: Mapping[str, Sequence[Expression]],
    known: Mapping[Expression, str] | None = None,
    *,
    every: bool = False,
) -> str:
    """Return a C++ function that writes expressions to the arrays named in `targets`.

    Args:
        name: Its name.
        parameters: Its parameters.
        targets: The expressions by array.
        known: What takes the place of some expressions, as C++.
        every: Whether to store zeros in all arrays.
    """
    names = [parameter.split()[-1] for parameter in parameters.split(",")]
    lines = [f"static inline void {name}({parameters}) {{"]
    lines.append("    " + " ".join(f"(void){parameter};" for parameter in names))
    lines += [f"    {line}" for line in _statements(targets, known or {}, every=every)]
    return "\n".join([*lines, "}"])


def _statements(
    targets: Mapping[str, Sequence[Expression]], known: Mapping[Expression, str], *, every: bool
) -> Iterable[str]:
    """Yield statements that compute every expression once, and then store the results.

    This is common subexpression elimination across values and Jacobians. Zeros of Jacobians are not
    stored, but those of `out` and `jt` are, which are read as a whole.
    """
    stored = [
        (f"{array}[{place}]", expression)
        for array, expressions in targets.items()
        for place, expression in enumerate(expressions)
        if every or array in ("out", "jt") or not expression.equals(0.0)
    ]
    # Operands come first in `in_order`, so that every statement uses names that are defined
    # already.
    texts: dict[Expression, str] = {}
    for number, expression in enumerate(in_order([expression for _, expression in stored])):
        if expression in known:
            texts[expression] = known[expression]
            continue
        if expression.leaf is not None:
            texts[expression] = _leaf(expression.leaf)
            continue
        template = _OPERATORS.get(expression.operation)
        arguments = [texts[argument] for argument in expression.arguments]
        call = f"v{expression.operation}({', '.join(arguments)})"
        kind = "M" if expression.is_mask else "V"
        yield f"const {kind} x{number} = {template.format(*arguments) if template else call};"
        texts[expression] = f"x{number}"
    for place, expression in stored:
        yield f"{place} = {texts[expression]};"


def _leaf(leaf: float | bool | str) -> str:
    """Return a variable by its name, or a constant in hexadecimal, which keeps every bit."""
    if isinstance(leaf, str):
        return leaf
    # C++ has no literals for NaN and infinity.
    if math.isfinite(leaf):
        return f"splat({float(leaf).hex()})"
    if math.isnan(leaf):
        return 'splat(__builtin_nan(""))'
    return f"splat({'-' if leaf < 0.0 else ''}__builtin_inf())"
