"""The package's own exceptions: their messages say what was expected and received, and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WarpPhysError(Exception):
    """Base of every error this package raises on purpose."""


class UsageError(WarpPhysError, ValueError):
    """An argument or a data set is not what the function needs."""


class UnknownNameError(UsageError):
    """A name that is not among the known ones; the message offers the closest."""


class SchemaError(UsageError):
    """A file or Dataset that does not follow the package's data schema."""


class UnsupportedError(UsageError):
    """A file asks for something that this package does not support; the message names it."""


class MissingExtraError(WarpPhysError, ImportError):
    """An optional library is not installed; the message tells how to install it."""


class OutputExistsError(WarpPhysError, FileExistsError):
    """A file that would be overwritten without having been asked to."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not known, with the closest known names.

    Args:
        kind: What the name stands for, in the singular: "system", "parameter of Pendulum".
        name: The name that was received.
        known: The valid names.

    Returns:
        The exception, to be raised by the caller.

    Example:
        >>> str(unknown_name("system", "lotka_voltera", ["lotka_volterra", "sir"]))
        "unknown system 'lotka_voltera'; did you mean 'lotka_volterra'? known: lotka_volterra, sir"
    """
    names = list(known)
    offer = " or ".join(map(repr, _closest(str(name).lower(), names)))
    question = f"did you mean {offer}? " if offer else ""
    listing = ", ".join(names) if names else "none"
    return UnknownNameError(f"unknown {kind} {name!r}; {question}known: {listing}")


def _closest(lowered: str, names: list[str]) -> list[str]:
    """Return the names that differ in case alone, else up to three similar ones."""
    same = [name for name in names if name.lower() == lowered]
    if same:
        return same
    folded = {name.lower(): name for name in names}
    close = difflib.get_close_matches(lowered, folded, n=3, cutoff=0.6)
    return [folded[match] for match in close]
