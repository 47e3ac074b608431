"""Devices for the Triton kernels, and the number of chunks that they split a series into."""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache

import torch
from torch import Tensor

# Chunk lengths are multiples of this, so that every chunk but the last has only whole tiles.
TILE = 8

# So many terms at most does a kernel add up in the dtype of the states.
_LONGEST = 4096


def triton_available(device: torch.device) -> bool:
    """Return whether the Triton kernels run on this device.

    On CUDA devices where Triton is installed. On the CPU where its interpreter was asked for by
    TRITON_INTERPRET=1 before Triton was imported; else Triton is not imported to answer this.
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
    """Return how many multiprocessors there are to fill, 1 for the interpreter."""
    if device.type != "cuda":
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def chunk_length(length: int, programs: int, wanted: int, shortest: int) -> int:
    """Return how many steps make a chunk, at least `length` where one chunk is best.

    Args:
        length: T.
        programs: how many programs a single chunk takes.
        wanted: how many programs fill the device.
        shortest: below it, a chunk costs more than it brings.
    """
    most = max(1, length // shortest)
    chunks = max(min(_ceil(wanted, programs), most), _ceil(length, _LONGEST))
    return _ceil(_ceil(length, chunks), TILE) * TILE


def on_device_of(tensor: Tensor) -> torch.cuda.device_of:
    """Make a tensor's device the one that Triton launches on."""
    return torch.cuda.device_of(tensor)


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)


@lru_cache(maxsize=1)
def _installed() -> bool:
    """Whether there is a Triton whose kernels may hold tuples, as those here do."""
    if importlib.util.find_spec("triton") is None:
        return False
    from triton.language import core

    return hasattr(core, "tuple") and hasattr(core.tuple, "__add__")


def _interpreted() -> bool:
    import triton.language as tl

    return type(tl.sum).__name__ == "InterpretedFunction"
