"""Which settings have an effect in a model, and the error for one that has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from warp_phys.models.drives.drive import Drive
from warp_phys.models.drives.registry import DRIVES
from warp_phys.models.heads.head import Head
from warp_phys.models.heads.registry import HEADS
from warp_phys.models.settings import Settings
from warp_phys.recurrence.transitions.registry import STRUCTURES
from warp_phys.systems.errors import UsageError

# Settings of the core of every trained head, in addition to options of head, drive and structure.
_OF_THE_CORE = ("structure", "initial", "root", "dtype")


def check_used(
    values: Mapping[str, Any], uses: tuple[str, ...], head: Any, drive: Any, structure: Any
) -> None:
    """Raise UsageError where a setting or an argument of a model would have no effect.

    Args:
        values: What was given, by name.
        uses: Settings that the model itself uses.
        head: A shipped head's class, or a user's own object.
        drive: Likewise; or its name, where the head has its own.
        structure: A class.
    """
    used = {*uses, *_used(head, drive, structure, values)}
    for name, value in values.items():
        if name not in used:
            chosen, advice = _chosen(head, drive, structure), _advice(name, values, head, structure)
            raise UsageError(
                f"expected no {name} with {chosen}, got {_shown(value)}; leave it out"
                + (f", or choose {advice}" if advice else "")
            )


def _used(head: Any, drive: Any, structure: Any, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings and arguments that have an effect in a model with these parts."""
    yield "head"
    # Only what is trained has a core, with a drive and a structure; and the options of an object
    # were chosen where it was made.
    parts = (head, drive) if head.trains else (head,)
    for part in parts:
        if not isinstance(part, Head | Drive | str):
            yield from part.options
    if not isinstance(head, Head):
        yield from head.arguments
    if head.trains:
        yield "drive"
        yield from structure.options
        yield from _OF_THE_CORE
        if values.get("initial", "first_sample") == "first_sample":
            yield "width"


def _chosen(head: Any, drive: Any, structure: Any) -> str:
    if head.trains:
        parts = f"head={head.name!r}, drive={drive.name!r}, structure={structure.name!r}"
        return f"{parts}, which do not use it"
    default = " (the default)" if head.name == Settings.head else ""
    return f"head={head.name!r}{default}, which does not use it"


def _advice(name: str, values: Mapping[str, Any], head: Any, structure: Any) -> str:
    """Return the parts with which a setting would have an effect, as they are chosen."""
    if head.trains:
        return " or ".join(_users(name, "head", "drive", "structure"))
    heads = [
        other
        for other in HEADS.values()
        if name in _used(other, DRIVES.get(other.default_drive, ""), structure, values)
        and (name != "drive" or _takes(other, values["drive"]))
    ]
    parts = [] if heads else _users(name, "structure")
    # The direct head stands for all trained ones.
    direct = HEADS["direct"]
    chosen = [direct] if parts or direct in heads else heads
    named = " or ".join(f"head={other.name!r}" for other in chosen)
    training = ", which needs training (see train)" if any(each.trains for each in chosen) else ""
    return named + training + (f", with {' or '.join(parts)}" if parts else "")


def _takes(head: type[Head], drive: Any) -> bool:
    """Return whether a head that has drives takes one; trained heads judge what no head names."""
    of_heads = {name for other in HEADS.values() for name in other.drives or ()}
    if isinstance(drive, str) and drive in of_heads:
        return drive in (head.drives or DRIVES)
    return head.drives is None


def _shown(value: Any) -> str:
    """Return a value in one line."""
    text = repr(value.name if isinstance(value, Drive) else value)
    return text if "\n" not in text else f"a {type(value).__name__}"


def _users(name: str, *kinds: str) -> list[str]:
    """Return the shipped parts of some kinds that take a setting, as they are chosen."""
    shipped: dict[str, Mapping[str, Any]] = {
        "head": HEADS,
        "drive": DRIVES,
        "structure": STRUCTURES,
    }
    return [
        f"{kind}={known!r}"
        for kind in kinds
        for known, part in shipped[kind].items()
        if name in (*part.options, *getattr(part, "arguments", ()))
    ]
