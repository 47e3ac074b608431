"""The operations of expressions, and their NumPy functions for numbers and arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def _remainder(a: Any, b: Any) -> Any:
    """Return a modulo b with the sign of b, as torch.remainder does."""
    # fmod is exact and takes the sign of a; the shift moves it to the sign of b.
    rest = np.fmod(a, b)
    return np.where((rest != 0.0) & ((b < 0.0) != (rest < 0.0)), rest + b, rest)


_erf = np.vectorize(math.erf, otypes=[float])
_erfc = np.vectorize(math.erfc, otypes=[float])

COMPARISONS: dict[str, Callable[..., Any]] = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}
CONNECTIVES: dict[str, Callable[..., Any]] = {
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": _erf,
    "erfc": _erfc,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    # Torch, rint and C's nearbyint round halves to even.
    "round": np.rint,
    "pow": np.power,
    "atan2": np.arctan2,
    "hypot": np.hypot,
    "fmod": np.fmod,
    "remainder": _remainder,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "select": np.where,
    **COMPARISONS,
    **CONNECTIVES,
    **FUNCTIONS,
}
