"""Values by name: the argument `p` of right-hand sides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from warp_phys.systems.errors import unknown_name


class Namespace:
    """Named values read as attributes; the error for a wrong name lists the known ones.

    Values are typed `Any` so that right-hand sides need no casts: they are tensors of shape
    (*batch), or None for unknown parameters (see `LinearForm`).
    """

    def __init__(self, owner: str, names: Iterable[str], values: Iterable[Any]) -> None:
        self.__dict__.update(zip(names, values, strict=True))
        self.__dict__["_owner"] = owner

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and pickle probe for these
            raise AttributeError(name)
        known = [key for key in self.__dict__ if not key.startswith("_")]
        raise AttributeError(str(unknown_name(f"name in {self._owner}", name, known)))

    def __repr__(self) -> str:
        pairs = ", ".join(f"{k}={v!r}" for k, v in self.__dict__.items() if not k.startswith("_"))
        return f"Namespace({pairs})"
