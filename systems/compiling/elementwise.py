"""Traces elementwise torch functions of a few numbers, and prints them as C++."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from warp_phys.systems.compiling.cpp import function_source
from warp_phys.systems.compiling.expression import Expression, evaluate
from warp_phys.systems.compiling.expressions import Expressions
from warp_phys.systems.compiling.recording import TracingError, on_expressions, record

# Relative. It is wide, as functions that suffer from cancellation lose digits differently here and
# in torch, whereas a wrong trace is wrong at any tolerance.
_TOLERANCE = 1e-8


def elementwise_source(
    name: str,
    function: Callable[..., Sequence[Tensor]],
    variables: Sequence[str],
    points: Tensor,
) -> str:
    """Return the C++ of an elementwise torch function: `void name(V a, V b, ..., V* out)`.

    `PRELUDE` must come before it, see `system_source`.

    Args:
        name: Name of the C++ function.
        function: Takes one tensor for each variable, all of one shape, and returns several such.
        variables: Names of its arguments.
        points: (variables, M), arguments at which the trace is compared with the function. The
            function is recorded at the first one.

    Raises:
        TracingError: An operation is not known, or the control flow depends on values.

    Example:
        >>> import torch
        >>> text = elementwise_source("twice", lambda x: (x + x,), ["x"], torch.ones(1, 2).double())
        >>> text.splitlines()[2:4]
        ['    const V x1 = x + x;', '    out[0] = x1;']
    """
    e = Expressions()
    module = record(name, lambda *given: tuple(function(*given)), list(points[:, :1].unbind()))
    columns = [np.array([e.variable(one)], dtype=object) for one in variables]
    found = on_expressions(name, e, module, columns)
    values = [e.number(one.ravel()[0]) for one in found]
    _check(name, function, variables, points, values)
    parameters = ", ".join(f"V {one}" for one in variables)
    return function_source(name, f"{parameters}, V* out", {"out": values})


def _check(
    name: str,
    function: Callable[..., Sequence[Tensor]],
    variables: Sequence[str],
    points: Tensor,
    values: Sequence[Expression],
) -> None:
    """Compare the expressions at all points with the function from which they were recorded."""
    given = dict(zip(variables, points.numpy(), strict=True))
    for wanted, value in zip(function(*points.unbind()), evaluate(values, given), strict=True):
        expected = wanted.detach().numpy()
        received = np.broadcast_to(np.asarray(value, dtype=np.float64), expected.shape)
        if not np.allclose(received, expected, rtol=_TOLERANCE, atol=0.0, equal_nan=True):
            raise TracingError(
                f"{name} is not what was recorded of it: expected {expected}, received {received}"
            )
