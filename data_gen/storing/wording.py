"""Phrases shared by several messages."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_NAMED = 5


def listed(names: Sequence[str]) -> str:
    """Return names separated by commas; of many names only the first few and the number left.

    Example:
        >>> listed(list("abcdefgh"))
        'a, b, c, d, e and 3 more'
    """
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
