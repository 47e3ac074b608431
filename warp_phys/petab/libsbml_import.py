"""The library libsbml, an optional dependency."""

from __future__ import annotations

from types import ModuleType

from warp_phys.systems.errors import UsageError


def libsbml() -> ModuleType:
    """Return the module `libsbml`.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import libsbml as found
    except ImportError:
        raise UsageError(
            "read_petab needs the package python-libsbml, which is not installed; "
            "run: pip install 'warp-phys[petab]'"
        ) from None
    return found
