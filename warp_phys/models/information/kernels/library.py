"""Compiles the kernels of the information recurrence, one library for each number of unknowns."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from importlib.resources import files

from warp_phys.systems.compiling.compiler import CompileError, compile_library
from warp_phys.systems.compiling.cpp import PRELUDE

# Records in a vector: eight doubles fill one register of AVX-512 or two of AVX2.
_LANES = 8
# The matrices of more unknowns than these would not fit into the cache.
_MOST = 24


@lru_cache(maxsize=64)
def library(unknowns: int, outputs: int, *names: str) -> ctypes.CDLL | None:
    """Return the library of some C++ files, in this order; None where it cannot be compiled.

    Args:
        unknowns: D.
        outputs: O.
        names: Files without their endings; `symmetric.cpp` comes before them.
    """
    if not 0 < unknowns <= _MOST:
        return None
    sizes = {"W": _LANES, "D": unknowns, "O": outputs}
    constants = "".join(f"static constexpr int {name} = {size};\n" for name, size in sizes.items())
    folder = files(__package__)
    parts = [
        folder.joinpath(f"{name}.cpp").read_text(encoding="utf-8") for name in ("symmetric", *names)
    ]
    try:
        return compile_library("\n".join([constants, PRELUDE, *parts])).handle
    except CompileError:
        return None
