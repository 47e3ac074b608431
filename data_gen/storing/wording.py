"""Words that several messages share."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_NAMED = 5


def listed(names: Sequence[str]) -> str:
    """Return names with commas between them; of many the first few and how many more there are.

    Example:
        >>> listed(list("abcdefgh"))
        'a, b, c, d, e and 3 more'
    """
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
