"""Identifiers of SBML and PEtab as names of a system, which are Python identifiers."""

from __future__ import annotations

import keyword


class Names:
    """Gives each identifier a name of its own: public, no keyword, not used before."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def unique(self, identifier: str) -> str:
        """Return a name for an identifier, the identifier itself if possible.

        Example:
            >>> names = Names()
            >>> names.unique("k1"), names.unique("k1"), names.unique("_x"), names.unique("lambda")
            ('k1', 'k1_2', 'x', 'lambda_')
        """
        name = "".join(
            letter if letter.isidentifier() or letter.isdigit() else "_" for letter in identifier
        )
        name = name.lstrip("_") or "x"
        if name[0].isdigit():
            name = f"x{name}"
        if keyword.iskeyword(name):
            name = f"{name}_"
        found, number = name, 2
        while found in self._used:
            found, number = f"{name}_{number}", number + 1
        self._used.add(found)
        return found
