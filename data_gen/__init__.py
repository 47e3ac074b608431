"""Data sets from systems: sampling, observing and labelled output."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "warp_phys.data_gen":
    raise ImportError(
        f"expected import as 'warp_phys.data_gen', got {__name__!r}; "
        "write 'from warp_phys.data_gen import ...'"
    )

if TYPE_CHECKING:
    from warp_phys.data_gen._distributions import (
        log_normal,
        log_uniform,
        normal,
        truncated_normal,
        uniform,
    )
    from warp_phys.data_gen._open import open_dataset
    from warp_phys.data_gen._paper import paper_data, paper_data_names
    from warp_phys.data_gen._simulate import simulate
    from warp_phys.data_gen._store import ShardError

# Public name -> module. Nothing is imported before it is asked for: torch alone takes seconds.
_EXPORTS = {
    "simulate": "_simulate",
    "open_dataset": "_open",
    "ShardError": "_store",
    "paper_data": "_paper",
    "paper_data_names": "_paper",
    "uniform": "_distributions",
    "log_uniform": "_distributions",
    "normal": "_distributions",
    "log_normal": "_distributions",
    "truncated_normal": "_distributions",
}

__all__ = [
    "ShardError",
    "log_normal",
    "log_uniform",
    "normal",
    "open_dataset",
    "paper_data",
    "paper_data_names",
    "simulate",
    "truncated_normal",
    "uniform",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
