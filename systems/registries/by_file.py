"""Registration of classes by the files that define them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from warp_phys.systems.errors import UsageError

# The module in a folder that holds its registry.
_REGISTRY = "registry"


def classes_by_name(package: str, base: Any) -> dict[str, Any]:
    """Return the subclasses of a base class that a package's modules define, by their `name`.

    A class is registered by its file alone. Every module of the package defines at least one, but
    for that of the base class and the one named `registry`.

    Args:
        package: The package's import name.
        base: What the classes derive from.

    Raises:
        TypeError: A module defines none, or two classes have one name; the message names them.

    Example:
        >>> from warp_phys.models.drives.drive import Drive
        >>> classes_by_name("warp_phys.models.drives", Drive)["difference"].__name__
        'Difference'
    """
    found: dict[str, type] = {}
    folder = importlib.import_module(package)
    for entry in pkgutil.iter_modules(folder.__path__, f"{package}."):
        if entry.name in (f"{package}.{_REGISTRY}", base.__module__):
            continue
        for name, defined in _defined(importlib.import_module(entry.name), base).items():
            if name in found:
                raise TypeError(f"{defined!r} and {found[name]!r} have the same name {name!r}")
            found[name] = defined
    return found


def check_own_name(kind: str, given: type, known: Mapping[str, type]) -> None:
    """Raise UsageError unless a class has a name under which files can tell it from the known.

    Args:
        kind: What it is: "drive".
        given: A class that came with the package, or one of a user's own.
        known: The classes that come with the package, by name.
    """
    name = getattr(given, "name", "")
    if not isinstance(name, str) or not name:
        raise UsageError(f'{kind}: expected {given.__name__} to have a name, like name = "mine"')
    if known.get(name, given) is not given:
        raise UsageError(
            f"{kind}: expected {given.__name__} to have a name of its own, got {name!r}, which is "
            f"that of {known[name].__name__}"
        )


def check_methods(kind: str, given: type, base: type, names: Iterable[str]) -> None:
    """Raise UsageError unless a user's own class defines methods that its base class only declares.

    Args:
        kind: What it is: "drive".
        given: The class.
        base: What it derives from.
        names: The methods.
    """
    missing = [name for name in names if getattr(given, name) is getattr(base, name)]
    if missing:
        wanted = ", ".join(f"{name}{_arguments(getattr(base, name))}" for name in missing)
        raise UsageError(
            f"{kind}: expected {given.__name__} to define {wanted}, got a class without; see "
            f"{base.__name__}"
        )


def _arguments(method: Callable[..., Any]) -> str:
    """Return the arguments of a method as a call shows them: (channels, outputs)."""
    _, *names = inspect.signature(method).parameters
    return f"({', '.join(names)})"


def _defined(module: ModuleType, base: type) -> dict[str, type]:
    found = {
        name: value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and (name := _name(value))
    }
    if not found:
        raise TypeError(
            f"{module.__name__} defines no {base.__name__} with a name: expected a class that "
            f'derives from {base.__name__} and says name = "..."'
        )
    return found


def _name(defined: Any) -> str:
    """Return the name that a class itself declares, not one that it inherits."""
    return str(vars(defined).get("name", ""))
