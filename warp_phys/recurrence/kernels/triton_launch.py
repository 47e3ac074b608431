"""Devices of the Triton kernels, and the number of chunks that they split a series into."""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache

import torch
from torch import Tensor

# Chunk lengths are multiples of this, so that every chunk but the last has only whole tiles.
TILE = 8

# The largest number of terms that a kernel sums in the dtype of the states.
_LONGEST = 4096


def triton_available(device: torch.device) -> bool:
    """Return whether the Triton kernels run on this device.

    They run on CUDA devices where Triton is installed, and on the CPU where its interpreter was
    enabled by TRITON_INTERPRET=1 before Triton was imported. In other cases Triton is not imported.
    """
    if device.type == "cuda":
        return _installed()
    return (
        device.type == "cpu"
        and os.environ.get("TRITON_INTERPRET") == "1"
        and _installed()
        and _interpreted()
    )


def multiprocessors(device: torch.device) -> int:
    """Return the number of multiprocessors of a device, 1 for the interpreter."""
    if device.type != "cuda":
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def chunk_length(length: int, programs: int, wanted: int, shortest: int) -> int:
    """Return the number of steps per chunk, at least `length` where one chunk is best.

    Args:
        length: T.
        programs: how many programs a single chunk takes.
        wanted: how many programs fill the device.
        shortest: chunks below this length cost more than they gain.
    """
    most = max(1, length // shortest)
    # As many chunks as fill the device, none shorter than `shortest`, but in any case enough to
    # keep the sums of a chunk below the limit.
    chunks = max(min(_ceil(wanted, programs), most), _ceil(length, _LONGEST))
    return _ceil(_ceil(length, chunks), TILE) * TILE


def on_device_of(tensor: Tensor) -> torch.cuda.device_of:
    """Make a tensor's device the one that Triton launches on."""
    return torch.cuda.device_of(tensor)


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)


@lru_cache(maxsize=1)
def _installed() -> bool:
    """Return whether Triton is installed and supports tuples in kernels."""
    if importlib.util.find_spec("triton") is None:
        return False
    from triton.language import core

    return hasattr(core, "tuple") and hasattr(core.tuple, "__add__")


def _interpreted() -> bool:
    import triton.language as tl

    return type(tl.sum).__name__ == "InterpretedFunction"
