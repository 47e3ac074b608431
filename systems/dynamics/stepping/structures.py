"""The structures that kernels take as arguments, declared with `ctypes`, and tensor addresses."""

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
    """Times, inputs and doses at the samples, see `samples.cpp`."""

    _fields_ = integers("n_times", "time_stride") + pointers("times", "start", "inputs", "jumps")


class Route(ctypes.Structure):
    """The lanes of a call, see `samples.cpp`."""

    _fields_ = pointers("row", "limit", "plan", "ends", "sizes")


class PlanControl(ctypes.Structure):
    """Tolerances and step limit of planned steps, see `planned.cpp`."""

    _fields_ = doubles("rtol", "range") + integers("max_steps")


def address(tensor: Tensor | None) -> int | None:
    """Return the address of a tensor's first element, None (a null pointer) without a tensor."""
    return None if tensor is None else tensor.data_ptr()
