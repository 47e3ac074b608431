"""The C++ kernels of the recurrence, compiled on first use and called through a C interface."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from importlib.resources import files

import torch

from warp_phys.systems.compiling.compiler import CompileError, compile_library

SCALARS = {torch.float32: "float", torch.float64: "double"}
"""What C++ calls the numbers of tensors the kernels take."""


# Files that are included before a kernel, in addition to `memory.cpp`.
_NEEDS = {"perceptron": ("tanh",)}


def kernel(name: str, **defined: str) -> ctypes.CDLL | None:
    """Return the library of `name`.cpp, compiled once and cached on disk; None without a compiler.

    There is no warning, because PyTorch computes the same: `show_versions` reports which of them is
    used, and why.

    Args:
        name: Name of the file.
        defined: Macros to compile it with.
    """
    return _loaded(name, **defined)[0]


def why_not(name: str, **defined: str) -> str:
    """Return why a library cannot be compiled, empty where it can."""
    return _loaded(name, **defined)[1]


def forget() -> None:
    """Clear the cache, so that the next call looks for a compiler again."""
    _loaded.cache_clear()


@lru_cache(maxsize=32)
def _loaded(name: str, **defined: str) -> tuple[ctypes.CDLL | None, str]:
    macros = "".join(f"#define {macro} {value}\n" for macro, value in defined.items())
    try:
        parts = ("memory", *_NEEDS.get(name, ()), name)
        return compile_library(macros + "".join(map(_text, parts))).handle, ""
    except CompileError as error:
        return None, str(error)


def _text(name: str) -> str:
    return files(__package__).joinpath(f"{name}.cpp").read_text(encoding="utf-8")
