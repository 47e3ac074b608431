"""What is traced, what is simplified, and what cannot be traced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.systems.compiling.traced_systems import Chain, Draining, Forced
from warp_phys.systems import LotkaVolterra, Parameter, State, System
from warp_phys.systems.compiling.expression import Expression, evaluate, in_order
from warp_phys.systems.compiling.expressions import Expressions
from warp_phys.systems.compiling.recording import TracingError
from warp_phys.systems.compiling.tracing import trace_system


def one(rhs: Any) -> System:
    """Return a system of one state y and one parameter k, with that right-hand side."""

    class One(System):
        states = (State("y", "1"),)
        parameters = (Parameter("k", "1", "positive", (0.5, 1.5)),)
        default_initial_state = {"y": (0.5, 2.0)}

        def rhs(self, t: Any, y: Tensor, p: Any) -> Any:
            return rhs(t, y, p)

    return One()


# What is traced.


def test_sizes_and_what_a_system_has() -> None:
    graph = trace_system(Forced())
    assert (graph.n_states, graph.n_parameters, graph.n_inputs, graph.n_outputs) == (2, 3, 2, 3)
    assert graph.solution is None
    assert graph.initial_state is None
    assert not graph.observes_states
    assert trace_system(Chain()).observes_states


def test_derivatives_of_lotka_volterra_are_those_on_paper() -> None:
    rhs = trace_system(LotkaVolterra()).rhs
    values = {"y[0]": 3.0, "y[1]": 5.0} | {f"p[{i}]": 0.1 * (i + 1) for i in range(4)}
    alpha, beta, gamma, delta = 0.1, 0.2, 0.3, 0.4
    by_state = [evaluate(row, values) for row in rhs.by_state]
    by_parameter = [evaluate(row, values) for row in rhs.by_parameter]
    np.testing.assert_allclose(
        by_state, [[alpha - 5.0 * beta, -3.0 * beta], [5.0 * delta, 3.0 * delta - gamma]]
    )
    np.testing.assert_allclose(by_parameter, [[3.0, -15.0, 0.0, 0.0], [0.0, 0.0, -5.0, 15.0]])


def test_derivatives_by_time_carry_the_rates_of_inputs() -> None:
    # v' = push cos t - k (x - floor) - c v - g
    rhs = trace_system(Forced()).rhs
    assert rhs.by_time[0].equals(0.0)
    values = {"t": 0.3, "u[0]": 2.0, "p[0]": 5.0, "v[0]": 0.7, "v[1]": -1.1}
    expected = 0.7 * np.cos(0.3) - 2.0 * np.sin(0.3) + 5.0 * -1.1
    np.testing.assert_allclose(evaluate(rhs.by_time, values), [0.0, expected])
    assert all(entry.equals(0.0) for entry in trace_system(LotkaVolterra()).rhs.by_time)


def test_derivatives_share_what_the_values_need() -> None:
    # y e^(ky): the exponential and the product are there once, for values and both derivatives.
    rhs = trace_system(one(lambda t, y, p: y * torch.exp(p.k * y))).rhs
    nodes = in_order([*rhs.values, *rhs.by_state[0], *rhs.by_parameter[0]])
    assert [node.operation for node in nodes].count("exp") == 1


def test_initial_state_and_solution_are_functions_of_their_own() -> None:
    graph = trace_system(Draining())
    assert graph.initial_state is not None
    assert graph.solution is not None
    names = {node.leaf for node in in_order(graph.initial_state.values)}
    assert {"p[0]", "p[1]"} <= names
    assert not {"t", "y[0]"} & names
    rate, full = 0.5, 2.0
    values = {"t": 1.5, "y[0]": 3.0, "y[1]": 1.0, "p[0]": rate, "p[1]": full}
    assert evaluate(graph.initial_state.values, values) == [full**2 / rate, 0.0]
    left = 3.0 * np.exp(-rate * 1.5)
    np.testing.assert_allclose(evaluate(graph.solution.values, values), [left, 4.0 - left])


# What cannot be traced.


def test_control_flow_by_values_is_refused() -> None:
    system = one(lambda t, y, p: y if float(y[0]) > 1.0 else -y)
    with pytest.raises(TracingError, match=r"One\.rhs cannot be recorded: .*data-dependent"):
        trace_system(system)


def test_an_unknown_operation_is_named() -> None:
    with pytest.raises(TracingError, match=r"One\.rhs: aten\.lgamma\.default is not among"):
        trace_system(one(lambda t, y, p: torch.lgamma(y)))


def test_indices_that_depend_on_values_are_refused() -> None:
    table = torch.arange(10.0, dtype=torch.float64)
    system = one(lambda t, y, p: table[(y[0] * 2.0).long()][None])
    with pytest.raises(TracingError, match="indices that depend on states, parameters or time"):
        trace_system(system)


def test_single_precision_is_refused() -> None:
    with pytest.raises(TracingError, match=r"numbers of torch\.float32, expected torch\.float64"):
        trace_system(one(lambda t, y, p: (y.float() * 2.0).double()))


@pytest.mark.parametrize(
    "rhs",
    [
        pytest.param(lambda t, y, p: p.k * torch.tensor(y.tolist()), id="values taken out"),
        pytest.param(lambda t, y, p: torch.from_numpy(np.cos(t.numpy())) * y, id="NumPy"),
        pytest.param(lambda t, y, p: y * torch.rand(()), id="random"),
        pytest.param(lambda t, y, p: y - y.sum(), id="across the batch"),
        pytest.param(lambda t, y, p: y if y.shape[1] == 1 else -y, id="by the batch's shape"),
    ],
)
def test_what_would_not_be_what_the_function_gives_is_refused(rhs: Any) -> None:
    with pytest.raises(TracingError, match=r"One\.rhs"):
        trace_system(one(rhs))


def test_what_the_function_itself_raises_is_told() -> None:
    with pytest.raises(TracingError, match="did you mean 'k'"):
        trace_system(one(lambda t, y, p: p.kk * y))


# Expressions.


def test_equal_expressions_are_one_object() -> None:
    e = Expressions()
    x, y = e.variable("x"), e.variable("y")
    assert x * y + 1.0 is 1.0 + y * x
    assert x - y is not y - x
    assert e.constant(0.0) is not e.constant(-0.0)
    assert e.constant(float("nan")) is e.constant(float("nan"))


def test_trivial_operations_disappear() -> None:
    e = Expressions()
    x, y = e.variable("x"), e.variable("y")
    zero = e.constant(0.0)
    kept = [1.0 * x, x * 1.0, x + 0.0, 0.0 + x, x - 0.0, x / 1.0, 0.0 - (0.0 - x), (-x) * -1.0]
    assert kept == [x] * len(kept)
    assert [0.0 * x, x * 0.0, 0.0 / x] == [zero] * 3
    assert x + -y is x - y
    assert x - -y is x + y
    assert -(x - y) is y - x
    assert x / 4.0 is x * 0.25
    assert e.apply("select", x < y, x, x) is x
    assert e.apply("not", e.apply("not", x < y)) is (x < y)
    assert e.apply("and", x < y, True) is (x < y)
    assert e.apply("or", x < y, True) is e.constant(True)


def test_powers_become_products_and_roots() -> None:
    e = Expressions()
    x = e.variable("x")
    assert e.apply("pow", x, 0.0) is e.constant(1.0)
    assert e.apply("pow", x, 3) is x * x * x
    assert e.apply("pow", x, -1) is 1.0 / x
    assert e.apply("pow", x, 0.5) is e.apply("sqrt", x)
    assert e.apply("pow", x, 2.3).operation == "pow"
    assert e.apply("pow", x, 9).operation == "pow"


def test_arrays_of_expressions_multiply_and_broadcast() -> None:
    e = Expressions()
    x = np.array([e.variable("x"), e.variable("y")], dtype=object)
    a, b = np.array([[1.0, 0.0], [2.0, -1.0]]).astype(object) @ x
    assert a is x[0]
    assert b is 2.0 * x[0] - x[1]
    assert ((x + 1.0)[:, None] * x[None])[1, 0] is (x[1] + 1.0) * x[0]
    assert repr(a + b) == "add(x, sub(mul(x, 2.0), y))"


NUMBERS = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0]), st.floats(-8.0, 8.0))
BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


@given(st.data())
def test_simplifying_leaves_the_value(data: st.DataObject) -> None:
    """Any expression has the value that the same operations have on numbers."""
    e = Expressions()
    variables = {"x": data.draw(NUMBERS.filter(bool)), "y": data.draw(NUMBERS.filter(bool))}
    parts: list[tuple[Expression, float]] = [
        (e.variable(name), value) for name, value in variables.items()
    ]
    parts += [(e.constant(value), value) for value in data.draw(st.lists(NUMBERS, max_size=3))]
    for operation in data.draw(st.lists(st.sampled_from([*BINARY, "neg", "select"]), max_size=8)):
        (a, av), (b, bv) = (data.draw(st.sampled_from(parts)) for _ in range(2))
        with np.errstate(all="ignore"):
            if operation == "neg":
                parts.append((-a, -av))
            elif operation == "select":
                parts.append((e.apply("select", a < b, a, b), av if av < bv else bv))
            else:
                plain = float(BINARY[operation](av, bv))
                parts.append((e.apply(operation, a, b), plain))
    received = evaluate([part for part, _ in parts], variables)
    for mine, (_, expected) in zip(received, parts, strict=True):
        # Zero times what is not finite is zero here; that is the one value that may change.
        if not np.isfinite(expected):
            break
        assert mine == expected
