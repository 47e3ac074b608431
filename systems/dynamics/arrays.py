"""Checks the numbers and times passed to `integrate`, and converts them to tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems.errors import UsageError


def floating(name: str, value: Any) -> Tensor:
    """Return a tensor of float64 or float32. Other dtypes are not converted silently."""
    if isinstance(value, Tensor):
        if value.dtype in (torch.float64, torch.float32):
            return value
        dtype, advice = str(value.dtype).removeprefix("torch."), f"{name}.double()"
    else:
        array = np.asarray(value)
        if array.dtype in (np.float64, np.float32):
            # A copy: the array may be read-only or change later.
            return torch.from_numpy(np.array(array))
        dtype, advice = str(array.dtype), f"np.asarray({name}, dtype=np.float64)"
    raise UsageError(f"expected {name} in float64 (or float32), received {dtype}; write {advice}")


def floating_like(name: str, value: Any, like: Tensor) -> Tensor:
    """Return a floating tensor of the dtype and device of `like`, which is initial_states."""
    tensor = floating(name, value)
    if tensor.dtype != like.dtype:
        wanted, came = (str(t.dtype).removeprefix("torch.") for t in (like, tensor))
        raise UsageError(
            f"expected {name} in {wanted} like initial_states, received {came}; convert one of them"
        )
    if tensor.device != like.device:
        raise UsageError(
            f"expected {name} on {like.device} like initial_states, received it on {tensor.device}"
        )
    return tensor


def time_grid(name: str, times: Any, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return times (N, T), padded with infinity, and the number of samples (N,).

    A grid shared by all trajectories remains one row in memory (its stride is 0).
    """
    grid = floating(name, times).to(dtype=like.dtype, device=like.device)
    shape = tuple(grid.shape)
    if grid.ndim == 1 and shape[0] > 0:
        rows = grid[None]
    elif grid.ndim == 2 and shape[0] == count and shape[1] > 0:
        rows = grid
    else:
        hint = ""
        if grid.ndim == 2 and (shape[1] == count or shape[1] == 1):
            hint = "; time runs along the last axis: transpose it"
        raise UsageError(
            f"expected {name} of shape (T,) or ({count}, T), T at least 1; received {shape}{hint}"
        )
    _check_increasing(name, rows)
    padding = rows.isnan()
    # Infinity, unlike NaN, sorts after every sample and compares as later.
    rows = torch.where(padding, torch.inf, rows).contiguous()
    return rows.expand(count, -1), (~padding).sum(dim=1).expand(count)


def _check_increasing(name: str, grid: Tensor) -> None:
    known = ~grid.isnan()
    if not bool(known[:, 0].all()):
        index = int((~known[:, 0]).nonzero()[0])
        raise UsageError(
            f"{name} of trajectory {index} start with NaN; pad with NaN at the end only"
        )
    broken = known[:, 1:] & ~known[:, :-1]
    if bool(broken.any()):
        index, sample = broken.nonzero()[0].tolist()
        raise UsageError(
            f"{name} of trajectory {index} go on after NaN at sample {sample + 1}; "
            "pad with NaN at the end only"
        )
    if bool(grid.isinf().any()):
        index, sample = grid.isinf().nonzero()[0].tolist()
        raise UsageError(f"{name} of trajectory {index} are infinite at sample {sample}")
    falling = grid[:, 1:] <= grid[:, :-1]
    if bool(falling.any()):
        index, sample = falling.nonzero()[0].tolist()
        before, after = grid[index, sample].item(), grid[index, sample + 1].item()
        raise UsageError(
            f"{name} should increase strictly along the last axis; trajectory {index} goes from "
            f"{before:g} to {after:g} at sample {sample + 1}; sort the samples and drop repeats"
        )
