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
    from warp_phys.data_gen._simulate import simulate

__all__ = ["log_normal", "log_uniform", "normal", "simulate", "truncated_normal", "uniform"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "_simulate" if name == "simulate" else "_distributions"
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
