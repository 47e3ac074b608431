"""Formatting of numbers: a value is rounded to the digits that its error leaves."""

from __future__ import annotations

import math

# Significant digits of a standard error, and of a value whose error is not known.
_OF_ERROR, _OF_VALUE = 3, 4
# Numbers that are written out: below that size, with so many decimals, and more if not tiny.
_LARGEST, _DECIMALS, _TINY, _DIGITS = 1e7, 7, 1e-4, 15


def rounded(value: float, error: float, dropped: int = 0) -> str:
    """Return a value to the decimals at which its error has three digits.

    Args:
        value: The value.
        error: Its standard error; where that is nothing, the value has four digits.
        dropped: Decimals to leave out.

    Example:
        >>> rounded(0.54001, 0.0594067), rounded(12901.07, 231.0), rounded(1.5e-12, 2e-14)
        ('0.5400', '12901', '1.5000e-12')
        >>> rounded(0.674995, 0.0594067, dropped=1)
        '0.675'
    """
    if not (math.isfinite(value) and math.isfinite(error) and error > 0.0):
        return f"{value:.{_OF_VALUE}g}"
    decimals = _OF_ERROR - 1 - math.floor(math.log10(error)) - dropped
    longest = _DIGITS if abs(value) >= _TINY else _DECIMALS
    if decimals <= longest and max(abs(value), error) < _LARGEST:
        return f"{value:.{max(decimals, 0)}f}"
    size = math.floor(math.log10(max(abs(value), error)))
    return f"{value:.{max(size + decimals, 0)}e}"


def percent(share: float) -> str:
    """Return a share as a percentage.

    Example:
        >>> percent(0.1100), percent(0.00042), percent(31.0)
        ('11.0%', '0.042%', '3100%')
    """
    number = 100.0 * abs(share)
    if number >= 100.0:
        return f"{number:.0f}%"
    return f"{number:.1f}%" if number >= 0.1 else f"{number:.2g}%"


def with_unit(text: str, unit: str) -> str:
    """Return a number with its unit, where it has one."""
    return text if unit in ("", "1") else f"{text} {unit}"
