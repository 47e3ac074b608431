"""The choices of a model: head, drive, structure and settings, by name or as objects."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from warp_phys.models.check_drive import check_reach, check_widths
from warp_phys.models.drives.drive import Drive
from warp_phys.models.drives.registry import DRIVES
from warp_phys.models.heads.head import Head, TrainedHead
from warp_phys.models.heads.registry import HEADS
from warp_phys.models.settings import Settings, check_values
from warp_phys.models.settings_in_use import check_used
from warp_phys.recurrence.transitions.registry import STRUCTURES, get_structure
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems.errors import SchemaError, UsageError, unknown_name
from warp_phys.systems.registries.by_file import check_methods, check_own_name

_SHIPPED: dict[str, Mapping[str, Any]] = {
    "head": HEADS,
    "drive": DRIVES,
    "structure": STRUCTURES,
}

# What a user's own subclass must define.
_TO_DEFINE: dict[type, tuple[str, ...]] = {
    Drive: ("build", "signals", "forward"),
    TrainedHead: ("build", "base", "forward"),
}


@dataclass(frozen=True)
class Choices:
    """The parts of a model.

    Attributes:
        settings: Plain values, which files store.
        head: The meaning of the hidden state.
        drive: The input of the recurrence; None where the head has its own.
        structure: The structure of A.
    """

    settings: Settings
    head: Head
    drive: Drive | None
    structure: type[Transition]

    def check_sizes(self, outputs: int, inputs: int) -> None:
        """Raise UsageError unless a user's own drive has widths for records of this many values."""
        if self.drive is not None and type(self.drive) not in DRIVES.values():
            check_widths(self.drive, outputs + inputs, outputs)

    def for_training(self) -> tuple[TrainedHead, Drive]:
        """Return copies of head and drive, to be sized and trained.

        Raises:
            UsageError: There is nothing to train.
        """
        if not isinstance(self.head, TrainedHead) or self.drive is None:
            raise UsageError(
                f"the {self.head.name} head has nothing to train; call estimate directly"
            )
        return copy.deepcopy(self.head), copy.deepcopy(self.drive)


def choose(
    *, uses: tuple[str, ...] = (), arguments: Mapping[str, Any] | None = None, **given: Any
) -> Choices:
    """Return the choices of a model, with defaults for what is not given (None).

    Args:
        uses: Settings that the model itself uses, in addition to its head, drive and structure.
        arguments: Arguments of the head that are not plain settings.
        **given: `Settings` by name; `head` and `drive` may be objects, `structure` a class.

    Raises:
        UsageError: A choice is unknown, a number is out of range, or a setting has no effect.
    """
    known = [field.name for field in fields(Settings)]
    for name in given:
        if name not in known:
            raise unknown_name("setting of a model", name, known)
    values = {name: value for name, value in given.items() if value is not None}
    extra = {name: value for name, value in (arguments or {}).items() if value is not None}
    head = _part("head", values.get("head", Settings.head), Head)
    drive = _drive(head, values.get("drive", head.default_drive))
    structure = get_structure(values.get("structure", "diagonal"))
    check_values(values)
    check_used(values | extra, uses, head, drive, structure)
    values = {**getattr(drive, "defaults", {}), **values}
    if values.get("stable") and not structure.can_be_stable:
        values.pop("stable")
        values.pop("decay", None)
    values |= {"head": head.name, "structure": structure.name}
    values["drive"] = drive if isinstance(drive, str) else drive.name
    return _made(Settings(**values), head, drive, structure, extra)


def restore(
    entry: Mapping[str, Any],
    source: str,
    arguments: Mapping[str, Any] | None = None,
    **own: Any,
) -> Choices:
    """Return the choices that are stored in a file of a model.

    Args:
        entry: What `Settings.to_json` returned.
        source: The file's name, for messages.
        arguments: Arguments of the head that are not plain settings.
        **own: The user's own `head`, `drive` and `structure`; None where the package's are meant.

    Raises:
        SchemaError: A part is neither shipped nor given, or another one is given.
    """
    for kind, given in own.items():
        name = entry[kind]
        if given is None and name not in _SHIPPED[kind]:
            written = kind.capitalize() if kind == "structure" else f"{kind.capitalize()}(...)"
            raise SchemaError(
                f"{source} was saved with the {kind} {name!r}, which this package does not ship; "
                f"pass {kind}=Your{written}"
            )
        if given is not None and getattr(given, "name", given) != name:
            got = getattr(given, "name", given)
            raise SchemaError(f"{source} was saved with the {kind} {name!r}, got {kind}={got!r}")
    settings = Settings(**entry)
    head = _part("head", own.get("head") or settings.head, Head)
    drive = _drive(head, own.get("drive") or settings.drive)
    structure = get_structure(own.get("structure") or settings.structure)
    return _made(settings, head, drive, structure, arguments or {})


def _part(kind: str, given: Any, base: Any) -> Any:
    """Return the shipped class of a name, or a user's own object as it is."""
    shipped = _SHIPPED[kind]
    if isinstance(given, str):
        if given not in shipped:
            raise unknown_name(kind, given, shipped)
        return shipped[given]
    if not isinstance(given, base):
        name = getattr(given, "__name__", "")
        raise UsageError(
            f"{kind}: expected one of {', '.join(shipped)}, or a {base.__name__}, got {given!r}"
            + (f"; write {name}(...) for an instance" if name else "")
        )
    check_own_name(kind, type(given), shipped)
    if type(given) in shipped.values():
        raise UsageError(
            f"{kind}: expected {given.name!r} by its name, its options as settings of the model, "
            f"got {type(given).__name__}(...); write {kind}={given.name!r}"
        )
    for own, methods in _TO_DEFINE.items():
        if isinstance(given, own):
            check_methods(kind, type(given), own, methods)
    if isinstance(given, Drive):
        check_reach(given)
    return given


def _drive(head: Head, given: Any) -> Any:
    """Return the drive as `_part` does, or its name where the head has its own drives."""
    if head.drives == ():
        # `check_used` refuses any other.
        return head.default_drive
    if head.drives is not None and given in (*head.drives, head.default_drive):
        return given
    owners = {name: each.name for each in HEADS.values() for name in each.drives or ()}
    if isinstance(given, str) and given not in {*DRIVES, *owners}:
        raise unknown_name("drive", given, DRIVES if head.drives is None else head.drives)
    if head.drives is not None:
        got = repr(getattr(given, "name", given))
        wanted = _alternatives(head.drives)
        raise UsageError(f"expected drive={wanted} with head={head.name!r}, got {got}")
    if isinstance(given, str) and given not in DRIVES:
        raise UsageError(
            f"expected drive={_alternatives(DRIVES)}, got {given!r}, which only "
            f"head={owners[given]!r} takes"
        )
    return _part("drive", given, Drive)


def _made(
    settings: Settings,
    head: Any,
    drive: Any,
    structure: type[Transition],
    arguments: Mapping[str, Any],
) -> Choices:
    """Construct head and drive from the settings where they are given as classes."""
    if not isinstance(head, Head):
        head = head(**settings.select(head.options), **arguments)
    if not isinstance(drive, Drive | str):
        drive = drive(**settings.select(drive.options))
    return Choices(settings, head, None if isinstance(drive, str) else drive, structure)


def _alternatives(names: Any) -> str:
    """Return names as 'a', 'b' or 'c'."""
    *others, last = (repr(name) for name in names)
    return f"{', '.join(others)} or {last}"
