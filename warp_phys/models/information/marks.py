"""Marks: the samples at which the whole record so far is linearized anew."""

from __future__ import annotations

# Marks grow by this factor, so that all passes over a record together cost a fixed number of
# passes. A smaller factor keeps linearizations fresher and costs more.
_GROWTH = 1.4
# Every sample of a short beginning is one.
_DENSE = 8


def marks(samples: int) -> list[int]:
    """Return the numbers of samples, ascending, after which a record is linearized anew.

    Example:
        >>> marks(20)
        [1, 2, 3, 4, 5, 6, 7, 8, 11, 16]
    """
    found = list(range(1, min(samples, _DENSE) + 1))
    mark = _DENSE * _GROWTH
    while round(mark) <= samples:
        found.append(round(mark))
        mark *= _GROWTH
    return found
