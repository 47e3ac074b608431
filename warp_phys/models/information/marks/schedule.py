"""Marks: the samples at which the whole record so far is linearized anew."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import count, takewhile

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
    return list(takewhile(lambda mark: mark <= samples, _all_marks()))


@lru_cache(maxsize=1024)
def is_mark(samples: int) -> bool:
    """Return whether a record is linearized anew after this number of samples.

    Example:
        >>> [number for number in range(1, 21) if is_mark(number)] == marks(20)
        True
    """
    return samples in marks(samples)


def _all_marks() -> Iterator[int]:
    yield from range(1, _DENSE + 1)
    yield from (round(_DENSE * _GROWTH**power) for power in count(1))
