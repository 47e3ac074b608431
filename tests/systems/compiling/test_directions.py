"""Derivatives along many directions at once."""

from __future__ import annotations

import numpy as np
import torch

from warp_phys.systems import Parameter, State, System
from warp_phys.systems.compiling.directions import ByDirection, Directional, along
from warp_phys.systems.compiling.expression import evaluate
from warp_phys.systems.compiling.tracing import trace_system

SIZE = 40


class Ring(System):
    """Each state flows to the next one, and saturates with the sum of all."""

    states = tuple(State(f"s{place}", "1") for place in range(SIZE))
    parameters = (Parameter("k", "1", "positive", (0.5, 1.5)),)

    def rhs(self, t, y, p):
        flow = p.k * y**2
        return torch.roll(flow, 1, 0) - flow


def test_each_direction_gives_what_it_gives_alone() -> None:
    e = Directional()
    x, y = e.variable("x"), e.variable("y")
    one = e.constant(1.0)
    both = e.unit({("x", 0): one, ("y", 0): one * 2.0})

    def slope(dx, dy):
        product = dx * y + x * dy
        return e.apply("select", x < y, product / y, product) - 3.0 * dx

    together = slope(e.unit({("x", 0): one}), e.unit({("y", 0): one * 2.0}))
    zero = e.constant(0.0)
    assert along(together, ("x", 0)) is slope(one, zero)
    assert along(together, ("y", 0)) is slope(zero, one * 2.0)
    assert along(together, ("z", 0)) is zero
    assert (both - both) is zero
    assert isinstance(e.apply("ne", both, 0.0), ByDirection)
    assert e.apply("ne", both, 0.0).is_mask


def test_a_sparse_jacobian() -> None:
    rhs = trace_system(Ring()).rhs
    filled = [[not entry.equals(0.0) for entry in row] for row in rhs.by_state]
    expected = np.eye(SIZE, dtype=bool) | np.roll(np.eye(SIZE, dtype=bool), 1, axis=0)
    np.testing.assert_array_equal(filled, expected)
    values = {f"y[{place}]": place + 1.0 for place in range(SIZE)} | {"p[0]": 0.5}
    diagonal = evaluate([rhs.by_state[place][place] for place in range(SIZE)], values)
    np.testing.assert_allclose(diagonal, -(np.arange(SIZE) + 1.0))
