"""The compiled equations of lanes, and their calls."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from importlib.resources import files

import torch
from torch import Tensor

from warp_phys.systems.compiling.compiler import CompileError, compile_library
from warp_phys.systems.dynamics.stepping.structures import address


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    """Return the compiled library, or None without a compiler."""
    source = files(__package__).joinpath("lanes.cpp").read_text(encoding="utf-8")
    try:
        handle = compile_library(source).handle
    except CompileError:
        return None
    for function, tables in ((handle.damped_steps, 7), (handle.secant_updates, 5)):
        function.restype = None
        sizes, pointers = [ctypes.c_int64] * 2, [ctypes.c_void_p] * tables
        function.argtypes = [*sizes, *pointers, ctypes.c_int]
    return handle


def damped_steps(
    matrix: Tensor, scale: Tensor, vector: Tensor, damping: Tensor, frozen: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Return the steps (n, D) and which lanes have one (n,); None without a compiler.

    Args:
        matrix: (n, D, D).
        scale: (n, D), by which unknowns are scaled, see `damped_step`.
        vector: (n, D).
        damping: (n,).
        frozen: (n, D), unknowns that stay.
    """
    library = _library()
    if library is None:
        return None
    step = torch.empty_like(vector, memory_format=torch.contiguous_format)
    fine = torch.empty(len(vector), dtype=torch.bool)
    tables = [part.contiguous() for part in (matrix, scale, vector, damping, frozen)]
    places = map(address, (*tables, step, fine))
    library.damped_steps(*vector.shape, *places, torch.get_num_threads())
    return step, fine


def secant_updates(
    curvature: Tensor, matrix: Tensor, step: Tensor, change: Tensor
) -> Tensor | None:
    """Return the updated curvature (n, D, D), see `updated_curvature`; None without a compiler."""
    library = _library()
    if library is None:
        return None
    found = torch.empty_like(curvature, memory_format=torch.contiguous_format)
    tables = [part.contiguous() for part in (curvature, matrix, step, change)]
    places = map(address, (*tables, found))
    library.secant_updates(*step.shape, *places, torch.get_num_threads())
    return found
