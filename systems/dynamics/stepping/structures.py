"""Structures that kernels take, as `ctypes` sees them, and pointers to tensors."""

from __future__ import annotations

import ctypes
from ctypes import c_double, c_int32, c_int64, c_void_p

from torch import Tensor

# An entry of `Structure._fields_`.
Field = tuple[str, type[c_double] | type[c_int32] | type[c_int64] | type[c_void_p]]


def integers(*names: str) -> list[Field]:
    """Return fields of int64_t."""
    return [(name, c_int64) for name in names]


def flags(*names: str) -> list[Field]:
    """Return fields of int32_t."""
    return [(name, c_int32) for name in names]


def doubles(*names: str) -> list[Field]:
    """Return fields of double."""
    return [(name, c_double) for name in names]


def pointers(*names: str) -> list[Field]:
    """Return fields that point to arrays."""
    return [(name, c_void_p) for name in names]


class Samples(ctypes.Structure):
    """What happens at the samples, see `samples.cpp`."""

    _fields_ = integers("n_times", "time_stride") + pointers("times", "start", "inputs", "jumps")


class Route(ctypes.Structure):
    """Lanes of a call, see `samples.cpp`."""

    _fields_ = pointers("row", "limit", "plan")


class PlanControl(ctypes.Structure):
    """Tolerance and limit of planned steps, see `planned.cpp`."""

    _fields_ = doubles("rtol") + integers("max_steps")


def address(tensor: Tensor | None) -> int | None:
    """Return where a tensor's numbers begin, None (null) without a tensor."""
    return None if tensor is None else tensor.data_ptr()
