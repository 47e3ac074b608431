"""The libraries of the extra `petab`, which may not be installed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from warp_phys.systems.errors import MissingExtraError


def libsbml() -> ModuleType:
    """Return the module `libsbml`.

    Raises:
        MissingExtraError: It is not installed.
    """
    return _imported("libsbml", "python-libsbml")


def yaml() -> ModuleType:
    """Return the module `yaml`.

    Raises:
        MissingExtraError: It is not installed.
    """
    return _imported("yaml", "pyyaml")


def _imported(module: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(
            f'read_petab needs {package}, which is not installed: pip install "warp-phys[petab]"'
        ) from None
