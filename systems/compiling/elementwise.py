"""Functions of a few numbers, element by element, as expressions and as C++."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from warp_phys.systems.compiling.cpp import function_source
from warp_phys.systems.compiling.expression import Expression, evaluate
from warp_phys.systems.compiling.expressions import Expressions
from warp_phys.systems.compiling.recording import TracingError, on_expressions, record

_TOLERANCE = 1e-8  # relative; wide, for functions that lose digits lose them differently here


def elementwise_source(
    name: str,
    function: Callable[..., Sequence[Tensor]],
    variables: Sequence[str],
    points: Tensor,
) -> str:
    """Return C++ of a torch function of numbers: `void name(V a, V b, ..., V* out)`.

    It needs `PRELUDE` before it, see `system_source`.

    Args:
        name: Of the C++ function.
        function: Takes one tensor for each variable, all of one shape, and returns several such.
        variables: Names of what it takes.
        points: (variables, M), where it is recorded (at the first), and compared with its record.

    Raises:
        TracingError: An operation is not known, or the flow of control depends on values.

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
    """Compare expressions with the function they were recorded from, at all points."""
    given = dict(zip(variables, points.numpy(), strict=True))
    for wanted, value in zip(function(*points.unbind()), evaluate(values, given), strict=True):
        expected = wanted.detach().numpy()
        received = np.broadcast_to(np.asarray(value, dtype=np.float64), expected.shape)
        if not np.allclose(received, expected, rtol=_TOLERANCE, atol=0.0, equal_nan=True):
            raise TracingError(
                f"{name} is not what was recorded of it: expected {expected}, received {received}"
            )
