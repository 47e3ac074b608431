"""Compiled code gives what the system's own functions give, and the same derivatives."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.systems.compiling.traced_systems import FUNCTIONS, Chain, Draining, Forced, Gates, Zoo
from warp_phys.systems import System, get_system, system_names
from warp_phys.systems.compiling.compiler import compile_library, compiler
from warp_phys.systems.compiling.cpp import PRELUDE, system_source
from warp_phys.systems.compiling.trace_check import middle
from warp_phys.systems.compiling.traced import translated

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")

SYSTEMS = [
    *(get_system(name) for name in system_names()),
    get_system("pendulum", g=None),
    *(kind() for kind in (Forced, Chain, Gates, Draining, Zoo)),
]
COUNT = 12
LANES = 4

# Reads and writes columns of arrays (rows, COUNT), a vector at a time.
HARNESS = """
static constexpr int LARGEST = 64, COUNT = 12;
static void load(const double* from, V* to, int rows, int at) {
    for (int row = 0; row < rows; ++row)
        for (int lane = 0; lane < W; ++lane) to[row][lane] = from[row * COUNT + at + lane];
}
static void store(const V* from, double* to, int rows, int at) {
    for (int row = 0; row < rows; ++row)
        for (int lane = 0; lane < W; ++lane) to[row * COUNT + at + lane] = from[row][lane];
}
extern "C" void call(int which, int jacobian, int rows, const double* t, const double* y,
                     const double* p, const double* u, double* out, double* jy, double* jp) {
    for (int at = 0; at < COUNT; at += W) {
        V time, ys[LARGEST], ps[LARGEST], us[LARGEST], outs[LARGEST] = {};
        V jys[LARGEST * LARGEST] = {}, jps[LARGEST * LARGEST] = {};
        load(t, &time, 1, at);
        load(y, ys, N_STATES, at);
        load(p, ps, N_PARAMETERS, at);
        load(u, us, N_INPUTS, at);
        if (which == 0 && !jacobian) rhs(time, ys, ps, us, outs);
        if (which == 0 && jacobian) rhs_jacobian(time, ys, ps, us, outs, jys, jps);
        if (which == 1 && !jacobian) observe(time, ys, ps, us, outs);
        if (which == 1 && jacobian) observe_jacobian(time, ys, ps, us, outs, jys, jps);
        if (which == 2 && !jacobian) solution(time, ys, ps, outs);
        if (which == 2 && jacobian) solution_jacobian(time, ys, ps, outs, jys, jps);
        if (which == 3 && !jacobian) initial_state(ps, outs);
        if (which == 3 && jacobian) initial_state_jacobian(ps, outs, jps);
        // The inputs change as fast as they are large.
        if (which == 4) rhs_linearization(time, ys, ps, us, us, outs, jys, jps);
        store(outs, out, rows, at);
        store(jys, jy, rows * N_STATES, at);
        store(jps, jp, rows * N_PARAMETERS, at);
    }
}
"""


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the user's own cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WARP_PHYS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


Function = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor | None]


def source_of(system: System) -> str:
    """Return the C++ of a system, which is traced once for all tests."""
    graph = translated(system)
    assert graph is not None
    return system_source(graph)


@lru_cache
def compiled(system: System) -> ctypes.CDLL:
    source = source_of(system)
    # Without optimization: what is tested is what the source says.
    library = compile_library(
        f"static constexpr int W = {LANES};{PRELUDE}{source}{HARNESS}", ["-O0"]
    )
    return library.handle


def points(system: System) -> dict[str, Tensor]:
    """Return t (COUNT,), y, p and u (rows, COUNT) around the middle of the ranges."""
    generator = torch.Generator().manual_seed(3)
    center = middle(system)
    return {
        name: (value * (0.6 + 0.8 * torch.rand(*value.shape[:-1], COUNT, generator=generator)))
        for name, value in center.items()
    }


def functions(system: System) -> dict[int, Function]:
    """Return the functions that a system has, by their number in the harness."""
    known: dict[int, Function] = {0: system.derivative, 1: system.outputs_at}
    if system.has_solution:
        known[2] = lambda t, y, p, u: system.solution_at(t, y, p)
    if system.has_initial_state:
        known[3] = lambda t, y, p, u: system.initial_state_at(p)
    return known


def call(
    system: System, which: int, jacobian: bool, rows: int, at: dict[str, Tensor]
) -> list[Tensor]:
    sizes = (1, len(system.states), max(1, len(system.parameters)))
    results = [torch.zeros(rows * size, COUNT, dtype=torch.float64) for size in sizes]
    arguments = [*(at[name].contiguous() for name in "typu"), *results]
    addresses = [ctypes.c_void_p(tensor.data_ptr()) for tensor in arguments]
    compiled(system).call(which, int(jacobian), rows, *addresses)
    return results


def agree(received: Tensor, expected: Tensor) -> None:
    """Compare to round-off on the scale of each row, which differences may cancel below."""
    scale = expected.abs().nan_to_num().amax(dim=-1, keepdim=True).clamp_min(1e-300)
    torch.testing.assert_close(
        received / scale, expected / scale, rtol=1e-12, atol=1e-12, equal_nan=True
    )


def columns(
    function: Function, at: dict[str, Tensor], inputs: Tensor | None, name: str
) -> Sequence[Tensor]:
    """Return the derivatives (R, COUNT) by every state ("y") or parameter ("p")."""
    found = []
    for row in range(len(at[name])):
        direction = torch.zeros_like(at[name])
        direction[row] = 1.0
        _, slope = torch.func.jvp(
            lambda value: function(*(({**at, name: value})[key] for key in "typ"), inputs),
            (at[name],),
            (direction,),
        )
        found.append(slope)
    return found


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: type(system).__name__)
def test_values_and_derivatives_are_those_of_torch(system: System) -> None:
    at = points(system)
    inputs = at["u"] if system.inputs else None
    for which, function in functions(system).items():
        expected = function(at["t"], at["y"], at["p"], inputs)
        assert expected is not None
        rows = len(expected)
        agree(call(system, which, False, rows, at)[0], expected)
        values, by_state, by_parameter = call(system, which, True, rows, at)
        agree(values, expected)
        if which != 3:
            wanted = torch.stack(list(columns(function, at, inputs, "y")), dim=1)
            agree(by_state.reshape(wanted.shape), wanted)
        wanted = torch.stack(list(columns(function, at, inputs, "p")), dim=1)
        agree(by_parameter.reshape(wanted.shape), wanted)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: type(system).__name__)
def test_the_linearization_is_that_of_torch(system: System) -> None:
    """By the states, and by time as it passes for the inputs, too."""
    at = points(system)
    rows = len(system.states)
    values, by_state, by_time = call(system, 4, True, rows, at)
    inputs = at["u"] if system.inputs else None
    expected, slope = torch.func.jvp(
        lambda s: system.derivative(
            at["t"] + s, at["y"], at["p"], None if inputs is None else inputs * (1.0 + s)
        ),
        (torch.zeros(COUNT, dtype=torch.float64),),
        (torch.ones(COUNT, dtype=torch.float64),),
    )
    agree(values, expected)
    agree(by_time[:rows], slope)
    agree(by_state, call(system, 0, True, rows, at)[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -0.5])
def test_what_is_not_a_number_stays_so(bad: float) -> None:
    system = next(known for known in SYSTEMS if isinstance(known, Zoo))
    at = points(system)
    at["y"][:] = bad
    expected = system.outputs_at(at["t"], at["y"], at["p"])
    received = call(system, 1, False, len(expected), at)[0]
    for name, mine, other in zip(FUNCTIONS, received, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12, equal_nan=True, msg=name)


def test_what_is_zero_whatever_the_values_is_said_and_not_computed() -> None:
    source = source_of(get_system("lotka_volterra"))
    assert "RHS_P[8] = {true, true, false, false, false, false, true, true}" in source
    assert "OBS_Y[4] = {true, false, false, true}" in source
    assert "bool OBSERVES_STATES = true" in source
    assert "bool HAS_SOLUTION = false" in source
    assert "jp[2] =" not in source


def test_an_expression_is_computed_once() -> None:
    source = source_of(get_system("pendulum"))
    start = source.index("void rhs_jacobian")
    body = source[start : source.index("}", start)]
    assert body.count("vsin(") == 1
    assert body.count("vcos(") == 1


def test_constants_keep_every_bit() -> None:
    source = source_of(get_system("sine"))
    assert f"splat({(2 * np.pi).hex()})" in source
