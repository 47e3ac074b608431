"""Physical models (systems), the interface they share, and their integration.

The public names are those listed in `__init__.pyi` and the system classes of `catalog/`; a module
is imported when one of its names is first used. Everything else is private.
"""

from typing import Any

import lazy_loader

if __name__ != "warp_phys.systems":
    raise ImportError(
        f"expected import as 'warp_phys.systems', got {__name__!r}; "
        "write 'from warp_phys.systems import ...'"
    )

from warp_phys.systems.catalog.registry import SHIPPED, shipped_class

_contract, _, _names = lazy_loader.attach_stub(__name__, __file__)

__all__ = sorted([*_names, *(entry.class_name for entry in SHIPPED.values())])


def __getattr__(name: str) -> Any:
    if name in _names:
        return _contract(name)
    for entry in SHIPPED.values():
        if entry.class_name == name:
            value = globals()[name] = shipped_class(entry)  # cached for the next access
            return value
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}; it exports {', '.join(__all__)}"
    )


def __dir__() -> list[str]:
    return __all__
