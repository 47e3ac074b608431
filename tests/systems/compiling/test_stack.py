"""Compiled functions that need a large stack, and large systems."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest
import torch

from warp_phys.systems import Parameter, State, System, integrate
from warp_phys.systems.compiling.compiler import compile_library, compiler
from warp_phys.systems.compiling.stack import call_with_stack

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")

DEEP = """
extern "C" void deep(double *out) {
    volatile double room[8000000];
    room[0] = 2.0; room[7999999] = 3.0;
    *out = room[0] + room[7999999];
}
"""


def chain(size: int, fastest: float) -> tuple[System, torch.Tensor]:
    """Return a chain of compartments from a fast one to a slow one, y' = A y, and A."""
    rates = torch.logspace(np.log10(fastest), -1.0, size, dtype=torch.float64)

    class Chain(System):
        states = tuple(State(f"c{place}", "1") for place in range(size))
        parameters = (Parameter("k", "1/s", "positive", (0.5, 1.5)),)

        def rhs(self, t, y, p):
            flow = p.k * rates.reshape(-1, *[1] * (y.dim() - 1)) * y
            return torch.cat([-flow[:1], flow[:-1] - flow[1:]])

    return Chain(), torch.diag(-rates) + torch.diag(rates[:-1], -1)


def test_room_for_a_call() -> None:
    function = compile_library(DEEP).handle.deep
    function.argtypes, function.restype = [ctypes.POINTER(ctypes.c_double)], None
    found, before = ctypes.c_double(0.0), threading.stack_size()
    call_with_stack(64_000_000, function, ctypes.byref(found))
    assert found.value == 5.0
    assert threading.stack_size() == before


@pytest.mark.parametrize(
    ("size", "fastest", "method"),
    [
        pytest.param(120, 1.0, "dop853", id="more than a usual stack has room for"),
        pytest.param(14, 1e4, "rodas5p", id="a factorization that skips zeros"),
    ],
)
def test_a_chain(size: int, fastest: float, method: str) -> None:
    """The reference is the matrix exponential."""
    system, matrix = chain(size, fastest)
    start = torch.zeros(1, size, dtype=torch.float64)
    start[0, 0] = 1.0
    found = integrate(system, [0.0, 2.0], start, [[1.0]], method=method, rtol=1e-6, atol=1e-9)
    assert found.engine == "compiled"
    expected = torch.linalg.matrix_exp(2.0 * matrix) @ start[0]
    np.testing.assert_allclose(found.states[0, 1], expected, rtol=1e-5, atol=1e-7)
