"""The systems that come with the package, by name."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warp_phys.systems.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from warp_phys.systems.model.system import System


@dataclass(frozen=True)
class Entry:
    """A file of the catalog.

    Attributes:
        field: The folder it lies in: "ecology", say.
        name: Of the system and of the module.
        class_name: Of the class in it: `name` in CamelCase.
    """

    field: str
    name: str
    class_name: str


def _entries(folder: Path) -> dict[str, Entry]:
    """Return what lies in the catalog's folders, without importing it (torch takes seconds).

    A system is registered by its file alone: `catalog/FIELD/NAME.py`, whose class is NAME in
    CamelCase. A file without such a class is left out; a test names it.
    """
    found = {}
    for path in sorted(folder.glob("*/[a-z]*.py")):
        for class_name in re.findall(r"^class (\w+)\(", path.read_text(encoding="utf-8"), re.M):
            if _plain(class_name) == _plain(path.stem):
                found[path.stem] = Entry(path.parent.name, path.stem, class_name)
    return found


def _plain(name: str) -> str:
    """Return a name as it is compared: "Lotka-Volterra" as "lotkavolterra"."""
    return re.sub(r"[\s_-]", "", name).lower()


SHIPPED = _entries(Path(__file__).parent)


def shipped_class(entry: Entry) -> type[System]:
    """Return the class of an entry."""
    module = importlib.import_module(f"warp_phys.systems.catalog.{entry.field}.{entry.name}")
    found: type[System] = getattr(module, entry.class_name)
    return found


def system_names() -> tuple[str, ...]:
    """Return the names of the systems that come with the package.

    Example:
        >>> "lotka_volterra" in system_names()
        True
    """
    return tuple(SHIPPED)


def get_system(name: str, **fixed: float | tuple[float, float] | None) -> System:
    """Return a system that comes with the package.

    Args:
        name: One of `system_names()`; the class name works too.
        **fixed: Parameters to fix (number) or to free (None, or a range), as in `System`.

    Returns:
        A new instance.

    Raises:
        UnknownNameError: No system has this name; the message offers the closest.
        UsageError: `name` is not text.

    Example:
        >>> get_system("pendulum", length=1.0).free_names
        ('damping',)
    """
    if not isinstance(name, str):
        raise UsageError(
            f"expected the name of a system as text, one of {', '.join(SHIPPED)}; received "
            f"{type(name).__name__}"
        )
    wanted = _plain(name)
    for entry in SHIPPED.values():
        if _plain(entry.name) == wanted:
            return shipped_class(entry)(**fixed)
    check_files(Path(__file__).parent, name)
    raise unknown_name("system", name, SHIPPED)


def check_files(folder: Path, name: str) -> None:
    """Raise UsageError if a file of a catalog has this name, but no class of the name."""
    for path in folder.glob("*/[a-z]*.py"):
        if _plain(path.stem) == _plain(name):
            raise UsageError(
                f"expected a class {path.stem.title().replace('_', '')} in "
                f"{folder.name}/{path.parent.name}/{path.name}, received none: the class has the "
                "name of its file in CamelCase"
            )


def as_system(system: Any) -> System:
    """Return a system as it is, or the shipped one of a name.

    Raises:
        UnknownNameError: No system has this name.
        UsageError: It is neither a system nor text; a class, say.
    """
    from warp_phys.systems.model.system import System

    if isinstance(system, str):
        return get_system(system)
    if not isinstance(system, System):
        name = getattr(system, "__name__", "")
        raise UsageError(
            f"expected a System or the name of one, got {system!r}"
            + (f"; write {name}() for an instance" if name else "")
        )
    return system
