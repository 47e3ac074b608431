"""Torch operations that move, select or create elements, on arrays of expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from warp_phys.systems.compiling.expression_arrays import apply, array, constants, full
from warp_phys.systems.compiling.expressions import Expressions

_BYTES = np.dtype(object).itemsize


def _select(e: Expressions, x: Any, axis: int, index: int) -> np.ndarray:
    # With the ellipsis this is a view even of one element; without, NumPy returns the element
    # itself.
    return np.moveaxis(x, axis, 0)[index, ...]


def _slice(
    e: Expressions, x: Any, axis: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> np.ndarray:
    places = [slice(None)] * x.ndim
    places[axis] = slice(start, end, step)
    return x[tuple(places)]


def _squeeze(e: Expressions, x: Any, axes: Any = None) -> np.ndarray:
    axes = range(x.ndim) if axes is None else [axes] if isinstance(axes, int) else axes
    return np.squeeze(x, tuple(axis for axis in axes if x.ndim and x.shape[axis] == 1))


def _expand(e: Expressions, x: Any, shape: Sequence[int], **_: Any) -> np.ndarray:
    known = (1,) * (len(shape) - x.ndim) + x.shape
    sizes = [old if new == -1 else new for new, old in zip(shape, known, strict=True)]
    return np.broadcast_to(x, tuple(sizes))


def _unbind(e: Expressions, x: Any, axis: int = 0) -> list[np.ndarray]:
    rows = np.moveaxis(x, axis, 0)
    return [rows[place, ...] for place in range(len(rows))]


def _split(e: Expressions, x: Any, size: Any, axis: int = 0) -> list[np.ndarray]:
    length = x.shape[axis]
    sizes = [size] * -(-length // size) if isinstance(size, int) else list(size)
    ends = list(accumulate(sizes))
    return [_slice(e, x, axis, end - part, end) for end, part in zip(ends, sizes, strict=True)]


def _cat(e: Expressions, parts: Sequence[Any], axis: int = 0) -> np.ndarray:
    # Torch accepts empty vectors here, whatever the shape of the others.
    return np.concatenate([part for part in parts if part.shape != (0,)] or parts[:1], axis)


def _roll(e: Expressions, x: Any, shifts: Any, axes: Any = ()) -> np.ndarray:
    return np.roll(x, tuple(shifts), tuple(axes)) if axes else np.roll(x, shifts[0])


def _as_strided(
    e: Expressions, x: Any, size: Sequence[int], stride: Sequence[int], offset: int | None = None
) -> np.ndarray:
    """Return a view with any strides of the memory to which `x` belongs."""
    memory = x
    while isinstance(memory.base, np.ndarray):
        memory = memory.base
    # as_strided does not check bounds: an index past the end would read foreign memory.
    last = (offset or 0) + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if not memory.flags.c_contiguous or last >= memory.size:
        raise NotImplementedError("a view of memory in another order")
    flat = memory.reshape(-1)[offset or 0 :]
    return as_strided(flat, tuple(size), tuple(step * _BYTES for step in stride))


def _diagonal(e: Expressions, x: Any, offset: int = 0, first: int = 0, second: int = 1) -> Any:
    return np.diagonal(x, offset, first, second)


def _triangle(keep: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def run(e: Expressions, x: Any, diagonal: int = 0) -> np.ndarray:
        kept = keep(np.ones(x.shape[-2:], dtype=bool), diagonal)
        return apply(e, "select", constants(e, kept), x, 0.0)

    return run


def _copy(e: Expressions, x: Any, *_: Any, **__: Any) -> np.ndarray:
    return x.copy()


def _same(e: Expressions, x: Any, *_: Any, **__: Any) -> np.ndarray:
    return x


def _like(value: float) -> Callable[..., np.ndarray]:
    return lambda e, x, *_, **__: full(e, x.shape, value)


def _sized(value: float) -> Callable[..., np.ndarray]:
    return lambda e, shape, *_, **__: full(e, shape, value)


def _new(value: float) -> Callable[..., np.ndarray]:
    return lambda e, _x, shape, *_, **__: full(e, shape, value)


def constant_indices(x: Any) -> np.ndarray:
    """Return an array of constants as integers or truth values for indexing.

    Raises:
        NotImplementedError: The indices depend on the values of states or parameters.
    """
    flat = [element.leaf for element in x.ravel() if element.is_constant]
    if len(flat) < x.size:
        raise NotImplementedError("indices that depend on states, parameters or time")
    kind = bool if flat and isinstance(flat[0], bool) else np.int64
    return np.array(flat, dtype=kind).reshape(x.shape)


def _rows(e: Expressions, x: Any, axis: int, index: Any, **_: Any) -> np.ndarray:
    return np.take(x, constant_indices(index), axis=axis)


def _gather(e: Expressions, x: Any, axis: int, index: Any, **_: Any) -> np.ndarray:
    places = list(np.indices(index.shape))
    places[axis] = constant_indices(index)
    return x[tuple(places)]


def _index(e: Expressions, x: Any, indices: Sequence[Any]) -> np.ndarray:
    return x[tuple(slice(None) if i is None else constant_indices(i) for i in indices)]


def _index_put(e: Expressions, x: Any, indices: Sequence[Any], values: Any) -> np.ndarray:
    result = x.copy()
    places = tuple(slice(None) if i is None else constant_indices(i) for i in indices)
    result[places] = values
    return result


SHAPES: dict[str, Callable[..., Any]] = {
    "alias": _same,
    "detach": _same,
    "lift_fresh": _same,
    "lift_fresh_copy": _copy,
    "clone": _copy,
    "copy": lambda _, x, source, *_blocking: np.broadcast_to(source, x.shape),
    "select": _select,
    "slice": _slice,
    "squeeze": _squeeze,
    "unsqueeze": lambda _, x, axis: np.expand_dims(x, axis),
    "expand": _expand,
    "view": lambda _, x, shape: x.reshape(tuple(shape)),
    "_unsafe_view": lambda _, x, shape: x.reshape(tuple(shape)),
    "reshape": lambda _, x, shape: x.reshape(tuple(shape)),
    "as_strided": _as_strided,
    "permute": lambda _, x, axes: np.transpose(x, axes),
    "transpose": lambda _, x, first, second: np.swapaxes(x, first, second),
    "t": lambda _, x: x.T,
    "diagonal": _diagonal,
    "unbind": _unbind,
    "split": _split,
    "split_with_sizes": _split,
    "cat": _cat,
    "stack": lambda _, parts, axis=0: np.stack(parts, axis),
    "flip": lambda _, x, axes: np.flip(x, tuple(axes)),
    "roll": _roll,
    "repeat": lambda _, x, times: np.tile(x, tuple(times)),
    "tril": _triangle(np.tril),
    "triu": _triangle(np.triu),
    "zeros": _sized(0.0),
    "ones": _sized(1.0),
    "empty": _sized(0.0),
    "_efficientzerotensor": _sized(0.0),
    "zeros_like": _like(0.0),
    "ones_like": _like(1.0),
    "empty_like": _like(0.0),
    "new_zeros": _new(0.0),
    "new_ones": _new(1.0),
    "new_empty": _new(0.0),
    "_new_zeros_with_same_feature_meta": lambda e, _x, other, **_: full(e, other.shape, 0.0),
    "eye": lambda e, *sizes, **_: constants(e, np.eye(*sizes)),
    "arange": lambda e, *ends, **_: constants(e, np.arange(*ends)),
    "linspace": lambda e, start, end, steps, **_: constants(e, np.linspace(start, end, steps)),
    "index": _index,
    "index_put": _index_put,
    "index_select": _rows,
    "gather": _gather,
    "full": lambda e, shape, value, **_: full(e, shape, value),
    "new_full": lambda e, _x, shape, value, **_: full(e, shape, value),
    "full_like": lambda e, x, value, **_: full(e, x.shape, value),
    "fill": lambda e, x, value: full(e, x.shape, value),
    "scalar_tensor": lambda e, value, **_: array(e, value),
}
