"""Torch operations that reduce many elements to one, on arrays of expressions."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from warp_phys.systems.compiling.expression_arrays import apply, array, full
from warp_phys.systems.compiling.expressions import Expressions


def _fold(e: Expressions, operation: str, start: float | bool | None) -> Callable[..., Any]:
    """Return a function that reduces elements along axes, by default along all."""

    def run(x: Any, axes: Any = None, keepdim: bool = False) -> np.ndarray:
        axes = [axes] if isinstance(axes, int) else list(axes or range(x.ndim))
        axes = [axis % x.ndim for axis in axes]
        others = [axis for axis in range(x.ndim) if axis not in axes]
        rows = np.transpose(x, others + axes).reshape(*(x.shape[axis] for axis in others), -1)
        result = np.empty(rows.shape[:-1], dtype=object)
        for place in np.ndindex(result.shape):
            parts = list(rows[place])
            # The first element, not the neutral one, starts the reduction: 0 + x would be one more
            # node.
            first = parts.pop(0) if start is None or parts else e.lift(start)
            result[place] = reduce(lambda a, b: e.apply(operation, a, b), parts, first)
        return np.expand_dims(result, sorted(axes)) if keepdim else result

    return run


def _folding(operation: str, start: float | bool | None = None) -> Callable[..., Any]:
    return lambda e, x, *rest, **named: _fold(e, operation, start)(x, *rest, **_only(named))


def _only(named: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in named.items() if key == "keepdim"}


def _mean(e: Expressions, x: Any, *rest: Any, **named: Any) -> np.ndarray:
    total = _fold(e, "add", 0.0)(x, *rest, **_only(named))
    return apply(e, "div", total, x.size / max(total.size, 1))


def _norm(e: Expressions, x: Any, order: float = 2, *rest: Any, **named: Any) -> np.ndarray:
    if order != 2:
        raise NotImplementedError("only the Euclidean norm")
    return apply(e, "sqrt", _fold(e, "add", 0.0)(array(e, x * x), *rest, **_only(named)))


def _running(operation: str) -> Callable[..., Any]:
    def run(e: Expressions, x: Any, axis: int, **_: Any) -> np.ndarray:
        result = x.copy()
        rows, sources = np.moveaxis(result, axis, 0), np.moveaxis(x, axis, 0)
        for place in range(1, len(rows)):
            rows[place] = apply(e, operation, rows[place - 1], sources[place])
        return result

    return run


def _product(e: Expressions, a: Any, b: Any) -> np.ndarray:
    """Return a matrix product, with sums from left to right; an empty sum is zero."""
    inner = [array(e, a[..., :, k, None] * b[..., None, k, :]) for k in range(a.shape[-1])]
    shape = (*a.shape[:-1], b.shape[-1])
    return reduce(lambda x, y: x + y, inner, full(e, shape, 0.0)) if inner else full(e, shape, 0.0)


def _dot(e: Expressions, a: Any, b: Any) -> np.ndarray:
    return array(e, _product(e, np.atleast_2d(a), b[:, None])[..., 0].reshape(a.shape[:-1]))


def _add_product(
    e: Expressions, c: Any, a: Any, b: Any, beta: float = 1.0, alpha: float = 1.0
) -> np.ndarray:
    product = _dot(e, a, b) if b.ndim == 1 else _product(e, a, b)
    return array(e, c * beta + product * alpha)


SUMS: dict[str, Callable[..., Any]] = {
    "sum": _folding("add", 0.0),
    "prod": _folding("mul", 1.0),
    "amax": _folding("maximum"),
    "amin": _folding("minimum"),
    "any": _folding("or", False),
    "all": _folding("and", True),
    "mean": _mean,
    "linalg_vector_norm": _norm,
    "cumsum": _running("add"),
    "cumprod": _running("mul"),
    "mm": _product,
    "bmm": _product,
    "mv": _dot,
    "dot": _dot,
    "addmm": _add_product,
    "addmv": _add_product,
    "baddbmm": _add_product,
}
