"""The ways to value and Jacobians of a right-hand side that `compiler_comparison.py` compares.

Each is a function of a case, states (S, N) and parameters (P, N) that prepares everything and
returns a call without arguments. The call returns the derivatives (S, N) and their Jacobians by
states (S, S, N) and parameters (S, P, N), as NumPy arrays or something that `np.asarray` takes.
"""

from __future__ import annotations

import ctypes
import math
import operator
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from _compiler_cases import Case

from warp_phys.systems import get_system
from warp_phys.systems.compiling.compiler import compile_library
from warp_phys.systems.compiling.cpp import PRELUDE, system_source
from warp_phys.systems.compiling.tracing import trace_system

Call = Callable[[], tuple[Any, Any, Any]]

LANES = 8


def _compiled_call(library: ctypes.CDLL, y: np.ndarray, p: np.ndarray) -> Call:
    """Return the call of a library's `evaluate(n, y, p, out)`, out the rows of all results."""
    n_states, n = y.shape
    width = n_states * (1 + n_states + len(p))
    table = np.zeros((width, n))
    function = library.evaluate
    function.restype = None
    function.argtypes = [ctypes.c_long, *[ctypes.c_void_p] * 3]
    values, by_state, by_parameter = _parted(table, n_states, len(p))
    addresses = [array.ctypes.data for array in (y, p, table)]

    def call() -> tuple[Any, Any, Any]:
        function(n, *addresses)
        return values, by_state, by_parameter

    return call


def _parted(table: Any, n_states: int, n_parameters: int) -> tuple[Any, Any, Any]:
    """Return values (S, N), derivatives by states (S, S, N), and by parameters (S, P, N)."""
    middle = n_states * (1 + n_states)
    return (
        table[:n_states],
        table[n_states:middle].reshape(n_states, n_states, -1),
        table[middle:].reshape(n_states, n_parameters, -1),
    )


def warp_phys(case: Case, y: np.ndarray, p: np.ndarray) -> Call:
    """The package's own compiler, from the catalog's torch code."""
    loop = """
extern "C" void evaluate(long n, const double* y, const double* p, double* out) {
    constexpr int S = N_STATES, P = N_PARAMETERS;
    V values[S * (1 + S + P)] = {};  // entries that are zero whatever the values stay so
    for (long first = 0; first < n; first += W) {
        V states[S], parameters[P];
        for (int i = 0; i < S; ++i) __builtin_memcpy(&states[i], y + i * n + first, sizeof(V));
        for (int i = 0; i < P; ++i) __builtin_memcpy(&parameters[i], p + i * n + first, sizeof(V));
        rhs_jacobian(V(), states, parameters, nullptr, values, values + S, values + S * (1 + S));
        for (int i = 0; i < S * (1 + S + P); ++i)
            __builtin_memcpy(out + i * n + first, &values[i], sizeof(V));
    }
}
"""
    graph = trace_system(get_system(case.name))
    head = f"#include <cmath>\nstatic constexpr int W = {LANES};"
    source = "\n".join([head, PRELUDE, system_source(graph), loop])
    return _compiled_call(compile_library(source).handle, y, p)


def _directional(case: Case, y: np.ndarray, p: np.ndarray) -> tuple[Callable[..., Any], Any]:
    """Return value and derivatives along all states and parameters by torch, and its arguments."""
    system = get_system(case.name)
    n_states, n_inputs = len(y), len(y) + len(p)
    directions = torch.eye(n_inputs, dtype=torch.float64)[..., None].expand(-1, -1, y.shape[1])
    point = torch.from_numpy(np.concatenate([y, p]))

    def function(x: torch.Tensor) -> torch.Tensor:
        return system.derivative(0.0, x[:n_states], x[n_states:])

    def all_directions(x: torch.Tensor, tangents: torch.Tensor) -> Any:
        def along(tangent: torch.Tensor) -> Any:
            return torch.func.jvp(function, (x,), (tangent,))

        return torch.vmap(along, out_dims=(None, 0))(tangents)

    return all_directions, (point, directions)


def _torch_call(function: Callable[..., Any], arguments: Any, n_states: int) -> Call:
    def call() -> tuple[Any, Any, Any]:
        with torch.no_grad():
            values, slopes = function(*arguments)
        return values, slopes[:n_states].transpose(0, 1), slopes[n_states:].transpose(0, 1)

    return call


def torch_eager(case: Case, y: np.ndarray, p: np.ndarray) -> Call:
    """torch.vmap of torch.func.jvp, from the catalog's torch code."""
    function, arguments = _directional(case, y, p)
    return _torch_call(function, arguments, len(y))


def torch_compile(case: Case, y: np.ndarray, p: np.ndarray) -> Call:
    """The same through torch.compile (Inductor), which writes C++, too."""
    function, arguments = _directional(case, y, p)
    compiled = torch.compile(function, fullgraph=True, dynamic=False)
    return _torch_call(compiled, arguments, len(y))


def jax_jit(case: Case, y: np.ndarray, p: np.ndarray) -> Call:
    """jax.jit of jax.vmap of jax.jacfwd."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    functions = SimpleNamespace(
        sin=jnp.sin, exp=jnp.exp, expm1=jnp.expm1, abs=jnp.abs, below=operator.lt, where=jnp.where
    )

    def one(states: Any, parameters: Any) -> tuple[Any, Any, Any]:
        def function(a: Any, b: Any) -> tuple[Any, Any]:
            values = jnp.stack(case.rates(functions, tuple(a), tuple(b)))
            return values, values

        (by_state, by_parameter), values = jax.jacfwd(function, (0, 1), has_aux=True)(
            states, parameters
        )
        return values, by_state, by_parameter

    compiled = jax.jit(jax.vmap(one, in_axes=1, out_axes=-1))
    arguments = (jnp.asarray(y), jnp.asarray(p))
    return lambda: jax.block_until_ready(compiled(*arguments))


def _sympy_program(case: Case, n_parameters: int) -> tuple[Any, list[Any], list[Any]]:
    """Return variables (states, parameters), shared expressions, and those of all results."""
    import sympy
    from sympy.codegen.cfunctions import expm1

    functions = SimpleNamespace(
        sin=sympy.sin,
        exp=sympy.exp,
        expm1=expm1,
        abs=sympy.Abs,
        below=operator.lt,
        where=lambda mask, a, b: sympy.Piecewise((a, mask), (b, True)),
    )
    states = sympy.symbols(f"y:{len(case.states)}", real=True)
    parameters = sympy.symbols(f"p:{n_parameters}", real=True)
    values = sympy.Matrix(case.rates(functions, states, parameters))
    results = [*values, *values.jacobian(states), *values.jacobian(parameters)]
    shared, reduced = sympy.cse(results)
    return (states, parameters), shared, reduced


def sympy_c(case: Case, y: np.ndarray, p: np.ndarray) -> Call:
    """SymPy: differentiate, find common subexpressions, print C, compile as the package does."""
    import sympy

    (states, parameters), shared, results = _sympy_program(case, len(p))
    lines = ['#include <cmath>\nextern "C" void evaluate(long n, const double* __restrict y,']
    lines.append("    const double* __restrict p, double* __restrict out) {")
    lines.append("for (long row = 0; row < n; ++row) {")
    for letter, symbols in (("y", states), ("p", parameters)):
        lines += [f"const double {x} = {letter}[{i} * n + row];" for i, x in enumerate(symbols)]
    lines += [f"const double {name} = {sympy.ccode(value)};" for name, value in shared]
    lines += [f"out[{i} * n + row] = {sympy.ccode(value)};" for i, value in enumerate(results)]
    return _compiled_call(compile_library("\n".join([*lines, "}}"])).handle, y, p)


def sympy_numba(case: Case, y: np.ndarray, p: np.ndarray) -> Call:
    """The same, printed as a Python loop that Numba compiles; Numba itself has no derivatives."""
    import numba
    import sympy

    (states, parameters), shared, results = _sympy_program(case, len(p))
    lines = ["def evaluate(y, p, out):", "    for row in range(y.shape[1]):"]
    body = [f"{x} = y[{i}, row]" for i, x in enumerate(states)]
    body += [f"{x} = p[{i}, row]" for i, x in enumerate(parameters)]
    body += [f"{name} = {sympy.pycode(value)}" for name, value in shared]
    body += [f"out[{i}, row] = {sympy.pycode(value)}" for i, value in enumerate(results)]
    scope: dict[str, Any] = {"math": math}
    exec("\n".join(lines + [f"        {line}" for line in body]), scope)
    function = numba.njit(scope["evaluate"], error_model="numpy")
    table = np.empty((len(results), y.shape[1]))
    parts = _parted(table, len(y), len(p))

    def call() -> tuple[Any, Any, Any]:
        function(y, p, table)
        return parts

    return call


def casadi_c(case: Case, y: np.ndarray, p: np.ndarray) -> Call:
    """CasADi: scalar graph, its Jacobians, C code, compiled as the package does."""
    import casadi

    functions = SimpleNamespace(
        sin=casadi.sin,
        exp=casadi.exp,
        expm1=casadi.expm1,
        abs=casadi.fabs,
        below=operator.lt,
        where=casadi.if_else,
    )
    states, parameters = casadi.SX.sym("y", len(y)), casadi.SX.sym("p", len(p))
    values = casadi.vertcat(
        *case.rates(functions, casadi.vertsplit(states), casadi.vertsplit(parameters))
    )
    # CasADi stores columns: transposed, the rows of a Jacobian come one after the other.
    jacobians = [casadi.jacobian(values, x).T for x in (states, parameters)]
    flat = casadi.vertcat(values, *(casadi.vec(casadi.densify(x)) for x in jacobians))
    function = casadi.Function("one", [states, parameters], [casadi.cse(flat)])
    generator = casadi.CodeGenerator("one.c", {"cpp": True, "with_header": False})
    generator.add(function)
    loop = f"""
extern "C" void evaluate(long n, const double* y, const double* p, double* out) {{
    double states[{len(y)}], parameters[{len(p)}], values[{flat.numel()}];
    const double* arguments[{function.sz_arg()} + 1] = {{states, parameters}};
    double* results[{function.sz_res()} + 1] = {{values}};
    for (long row = 0; row < n; ++row) {{
        for (int i = 0; i < {len(y)}; ++i) states[i] = y[i * n + row];
        for (int i = 0; i < {len(p)}; ++i) parameters[i] = p[i * n + row];
        one(arguments, results, nullptr, nullptr, 0);
        for (int i = 0; i < {flat.numel()}; ++i) out[i * n + row] = values[i];
    }}
}}
"""
    return _compiled_call(compile_library(generator.dump() + loop).handle, y, p)


def heyoka_llvm(case: Case, y: np.ndarray, p: np.ndarray) -> Call:
    """heyoka: expressions, their derivatives, vector code through LLVM."""
    import heyoka

    functions = SimpleNamespace(
        sin=heyoka.sin,
        exp=heyoka.exp,
        expm1=heyoka.expm1,
        abs=lambda x: heyoka.select(heyoka.lt(x, 0.0), -x, x),
        below=heyoka.lt,
        where=heyoka.select,
    )
    names = [*(f"y{i}" for i in range(len(y))), *(f"p{i}" for i in range(len(p)))]
    variables = [*heyoka.make_vars(*names)]
    values = [
        heyoka.expression(x)
        for x in case.rates(functions, variables[: len(y)], variables[len(y) :])
    ]
    by = (variables[: len(y)], variables[len(y) :])
    slopes = [heyoka.diff(value, x) for group in by for value in values for x in group]
    function = heyoka.cfunc([*values, *slopes], variables)
    point = np.concatenate([y, p])
    table = np.empty((len(values) + len(slopes), y.shape[1]))
    parts = _parted(table, len(y), len(p))

    def call() -> tuple[Any, Any, Any]:
        function(point, outputs=table)
        return parts

    return call
