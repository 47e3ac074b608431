"""The C++ kernels of the recurrence, compiled on first use and called through a C interface."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from importlib.resources import files

import torch

from warp_phys.systems.compiling.compiler import CompileError, compile_library

SCALARS = {torch.float32: "float", torch.float64: "double"}
"""What C++ calls the numbers of tensors the kernels take."""


# What a kernel takes from other files, besides `memory.cpp`.
_NEEDS = {"perceptron": ("tanh",)}


def kernel(name: str, **defined: str) -> ctypes.CDLL | None:
    """Return the library of `name`.cpp, compiled once and kept on disk; None without a compiler.

    Silent, for PyTorch computes the same: `show_versions` tells which it is, and why.

    Args:
        name: Of the file.
        defined: Macros to compile it with.
    """
    return _loaded(name, **defined)[0]


def why_not(name: str, **defined: str) -> str:
    """Return why there is no such library, empty where there is one."""
    return _loaded(name, **defined)[1]


def forget() -> None:
    """Look for a compiler again at the next call."""
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
