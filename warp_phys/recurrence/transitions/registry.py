"""The structures that a recurrence can learn, by name."""

from __future__ import annotations

from typing import Any

from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.registries.by_file import check_own_name, classes_by_name

STRUCTURES: dict[str, type[Transition]] = classes_by_name(
    "warp_phys.recurrence.transitions", Transition
)
"""The structures that come with the package, by the name that `structure=` takes."""


def get_structure(structure: str | type[Transition]) -> type[Transition]:
    """Return the structure of a name, or a user's own class as it is.

    Raises:
        UnknownNameError: No structure has this name; the message offers the closest.
        UsageError: It is neither text nor a subclass of `Transition` with a name of its own.

    Example:
        >>> get_structure("diagonal").__name__
        'Diagonal'
    """
    if isinstance(structure, str):
        if structure not in STRUCTURES:
            raise unknown_name("structure", structure, STRUCTURES)
        return STRUCTURES[structure]
    given: Any = structure
    if not (isinstance(given, type) and issubclass(given, Transition)):
        raise UsageError(
            f"structure: expected one of {', '.join(STRUCTURES)}, or a subclass of Transition, "
            f"got {given!r}"
        )
    check_own_name("structure", given, STRUCTURES)
    return structure
