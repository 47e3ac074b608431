"""The compiled kernels of the recurrence: C++ beside this file behind a C interface."""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from importlib.resources import files

from warp_phys.systems._compiler import CompileError, compile_library


def kernel(name: str) -> ctypes.CDLL | None:
    """Return the library of `name`.cpp, compiled once and kept on disk; None without a compiler.

    Silent, for PyTorch computes the same: `show_versions` tells which it is, and why.
    """
    return _loaded(name, os.environ.get("WARP_PHYS_COMPILER"), os.environ.get("CXX"))[0]


def why_not(name: str) -> str:
    """Return why there is no such library, empty where there is one."""
    return _loaded(name, os.environ.get("WARP_PHYS_COMPILER"), os.environ.get("CXX"))[1]


# What the environment says is part of the key: reading it takes a microsecond, looking for a
# compiler fifty.
@lru_cache(maxsize=32)
def _loaded(
    name: str, _setting: str | None, _program: str | None
) -> tuple[ctypes.CDLL | None, str]:
    source = files(__package__).joinpath(f"{name}.cpp").read_text(encoding="utf-8")
    try:
        return compile_library(source).handle, ""
    except CompileError as error:
        return None, str(error)
