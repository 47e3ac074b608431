"""Torch's operations (ATen) on arrays of expressions.

Every operation takes the `Expressions` that create new ones, then torch's own arguments. Arrays are
NumPy object arrays, whose views share memory like torch's, so that writing in place works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from warp_phys.systems.compiling.aten_shapes import SHAPES
from warp_phys.systems.compiling.aten_sums import SUMS
from warp_phys.systems.compiling.expression import Expression, in_order
from warp_phys.systems.compiling.expression_arrays import apply, array
from warp_phys.systems.compiling.expressions import Expressions
from warp_phys.systems.compiling.operations import COMPARISONS, CONNECTIVES, FUNCTIONS

Operation: TypeAlias = Callable[..., Any]


def _pointwise(operation: str) -> Operation:
    return lambda e, *values: apply(e, operation, *values)


def _scaled(operation: str, swapped: bool = False) -> Operation:
    """Return a + alpha b or a - alpha b."""

    def run(e: Expressions, a: Any, b: Any, alpha: float = 1.0) -> np.ndarray:
        product = apply(e, "mul", alpha, a if swapped else b)
        return apply(e, operation, *((b, product) if swapped else (a, product)))

    return run


def _divide(e: Expressions, a: Any, b: Any, rounding_mode: str | None = None) -> np.ndarray:
    ratio = apply(e, "div", a, b)
    return ratio if rounding_mode is None else apply(e, rounding_mode, ratio)


def _maximum(e: Expressions, *values: Any) -> np.ndarray:
    return _decided(e, apply(e, "maximum", *values))


def _minimum(e: Expressions, *values: Any) -> np.ndarray:
    return _decided(e, apply(e, "minimum", *values))


def _decided(e: Expressions, values: np.ndarray) -> np.ndarray:
    """Return larger or smaller values, those of functions of time alone by a comparison.

    The steps of an integration end where a comparison changes, so that they do not step over a
    narrow pulse such as `relu(1 - abs(t - 5.0) / width)`.
    """

    def decided(value: Any) -> Any:
        if value.operation not in ("maximum", "minimum") or not _of_time_alone(value):
            return value
        a, b = value.arguments
        larger = value.operation == "maximum"
        return e.apply("select", a > b if larger else a < b, a, b)

    return array(e, np.frompyfunc(decided, 1, 1)(values))


def _of_time_alone(expression: Expression) -> bool:
    """Return whether time enters, and of all else parameters alone."""
    leaves = {str(one.leaf) for one in in_order([expression]) if one.operation == "variable"}
    return "t" in leaves and all(name == "t" or name.startswith("p[") for name in leaves)


def _clamp(e: Expressions, x: Any, low: Any = None, high: Any = None, **named: Any) -> np.ndarray:
    low, high = named.get("min", low), named.get("max", high)
    result = x if low is None else _maximum(e, x, low)
    return array(e, result if high is None else _minimum(e, result, high))


def _sign(e: Expressions, x: Any) -> np.ndarray:
    down = apply(e, "select", apply(e, "lt", x, 0.0), -1.0, 0.0)
    return apply(e, "select", apply(e, "gt", x, 0.0), 1.0, down)


def _sigmoid(e: Expressions, x: Any) -> np.ndarray:
    return apply(e, "div", 1.0, apply(e, "add", 1.0, apply(e, "exp", -x)))


def _softplus(e: Expressions, x: Any, beta: float = 1.0, threshold: float = 20.0) -> np.ndarray:
    # Above the threshold torch returns x itself, where exp would overflow later on.
    scaled = x * beta
    smooth = apply(e, "log1p", apply(e, "exp", scaled)) / beta
    return apply(e, "select", apply(e, "gt", scaled, threshold), x, smooth)


def _softplus_backward(e: Expressions, g: Any, x: Any, beta: float, threshold: float) -> np.ndarray:
    slope = _sigmoid(e, x * beta)
    return apply(e, "select", apply(e, "gt", x * beta, threshold), g, g * slope)


def _lerp(e: Expressions, a: Any, b: Any, weight: Any) -> np.ndarray:
    weight = array(e, weight)
    # Torch starts from the nearer end, so that weights 0 and 1 give the ends exactly.
    near, far = a + weight * (b - a), b - (b - a) * (1.0 - weight)
    return apply(e, "select", apply(e, "lt", apply(e, "abs", weight), 0.5), near, far)


def _nan_to_num(e: Expressions, x: Any, nan: float | None = None, *ends: Any) -> np.ndarray:
    # x != x holds for NaN alone.
    replaced = apply(e, "select", apply(e, "ne", x, x), nan or 0.0, x)
    largest = float(np.finfo(np.float64).max)
    high, low, *_ = (*ends, None, None)
    high, low = largest if high is None else high, -largest if low is None else low
    capped = apply(e, "select", apply(e, "eq", replaced, np.inf), high, replaced)
    return apply(e, "select", apply(e, "eq", capped, -np.inf), low, capped)


def _cast(e: Expressions, x: Any, *_: Any, dtype: Any = None, **__: Any) -> np.ndarray:
    """Return a copy in another dtype: integers are truncated, truth values are one or zero."""
    kind = str(dtype).removeprefix("torch.")
    if kind == "bool":
        return apply(e, "ne", x, 0.0)
    return apply(e, "trunc", x) if kind.startswith(("int", "uint")) else array(e, x).copy()


def _where(e: Expressions, condition: Any, a: Any, b: Any) -> np.ndarray:
    return apply(e, "select", condition, a, b)


def _threshold_backward(e: Expressions, g: Any, x: Any, threshold: float) -> np.ndarray:
    return apply(e, "select", apply(e, "le", x, threshold), 0.0, g)


def _leaky_relu(e: Expressions, x: Any, slope: float = 0.01) -> np.ndarray:
    return apply(e, "select", apply(e, "gt", x, 0.0), x, x * slope)


ATEN: dict[str, Operation] = {
    **{name: _pointwise(name) for name in (*FUNCTIONS, *COMPARISONS) if name != "round"},
    **{f"logical_{name}": _pointwise(name) for name in CONNECTIVES},
    **{f"bitwise_{name}": _pointwise(name) for name in CONNECTIVES},
    **SHAPES,
    **SUMS,
    "round": lambda e, x: apply(e, "round", x),
    "add": _scaled("add"),
    "sub": _scaled("sub"),
    "rsub": _scaled("sub", swapped=True),
    "mul": _pointwise("mul"),
    "neg": _pointwise("neg"),
    "div": _divide,
    "floor_divide": lambda e, a, b: _divide(e, a, b, "floor"),
    "reciprocal": lambda e, x: apply(e, "div", 1.0, x),
    "square": lambda e, x: apply(e, "mul", x, x),
    "rsqrt": lambda e, x: apply(e, "div", 1.0, apply(e, "sqrt", x)),
    "exp2": lambda e, x: apply(e, "pow", 2.0, x),
    "frac": lambda e, x: x - apply(e, "trunc", x),
    "sign": _sign,
    "sgn": _sign,
    "sigmoid": _sigmoid,
    "sigmoid_backward": lambda _, g, r: g * (1.0 - r) * r,
    "tanh_backward": lambda _, g, r: g * (1.0 - r * r),
    "softplus": _softplus,
    "softplus_backward": _softplus_backward,
    "maximum": _maximum,
    "minimum": _minimum,
    "relu": lambda e, x: _maximum(e, x, 0.0),
    "threshold_backward": _threshold_backward,
    "leaky_relu": _leaky_relu,
    "leaky_relu_backward": lambda e, g, x, slope, _: apply(
        e, "select", apply(e, "gt", x, 0.0), g, g * slope
    ),
    "silu": lambda e, x: x * _sigmoid(e, x),
    "lerp": _lerp,
    "nan_to_num": _nan_to_num,
    "addcmul": lambda _, x, a, b, value=1.0: x + a * b * value,
    "addcdiv": lambda _, x, a, b, value=1.0: x + a / b * value,
    "xlogy": lambda e, a, b: apply(
        e, "select", apply(e, "eq", a, 0.0), 0.0, array(e, a) * apply(e, "log", b)
    ),
    "clamp": _clamp,
    "clamp_min": _maximum,
    "clamp_max": _minimum,
    "where": _where,
    "masked_fill": lambda e, x, mask, value: apply(e, "select", mask, value, x),
    "isnan": lambda e, x: apply(e, "ne", x, x),
    "_to_copy": _cast,
}
