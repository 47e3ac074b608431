"""Steps, covariances and volumes across a direction by compiled code, see `marks/ridge.py`."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from warp_phys.models.information.kernels.library import library
from warp_phys.systems.dynamics.stepping.structures import address, pointers


class _Across(ctypes.Structure):
    """As in `across.cpp`."""

    _fields_ = [
        *pointers("hessian", "gradient", "slopes", "away", "precision", "v"),
        *pointers("moved", "covariance", "log_volume"),
    ]


def steps_across(
    sums: tuple[Tensor, Tensor], slopes: Tensor, away: Tensor, precision: Tensor, v: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return steps (L, D), covariances (L, D, D) and log volumes (L,); None without a compiler.

    Args:
        sums: Packed J^T W J (L, O, D (D + 1) / 2) and J^T W r (L, O, D), by the physical values.
        slopes: (L, D), derivatives of the physical values by the coordinates.
        away: (L, D), coordinates less the mean of the prior.
        precision: (D, D), of the prior.
        v: (N, D), the directions of N records; lane l belongs to record l mod N.
    """
    lanes, outputs, unknowns = sums[1].shape
    compiled = library(unknowns, outputs, "across")
    if compiled is None:
        return None
    given = [array.contiguous() for array in (*sums, slopes, away, precision, v)]
    found = (
        torch.empty_like(slopes),
        slopes.new_empty(lanes, unknowns, unknowns),
        slopes.new_empty(lanes),
    )
    compiled.steps_across(
        ctypes.c_int64(lanes),
        ctypes.c_int64(len(v)),
        ctypes.byref(_Across(*map(address, (*given, *found)))),
        ctypes.c_int64(torch.get_num_threads()),
    )
    return found
