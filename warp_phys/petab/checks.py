"""Checks of the tables of a problem: values that no problem can mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from warp_phys.systems.errors import SchemaError, UsageError

if TYPE_CHECKING:
    import pandas as pd

_ESTIMATED = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


def check_different(kind: str, identifiers: Iterable[str]) -> None:
    """Raise SchemaError where a table has an identifier twice."""
    seen: set[str] = set()
    for name in identifiers:
        if name in seen:
            raise SchemaError(f"expected each line of the {kind} table once, found {name!r} twice")
        seen.add(name)


def is_estimated(name: str, cell: str) -> bool:
    """Return whether a parameter is estimated.

    Raises:
        UsageError: The cell says neither.
    """
    if cell.lower() not in _ESTIMATED:
        raise UsageError(f"expected estimate of {name!r} as 0 or 1, received {cell!r}")
    return _ESTIMATED[cell.lower()]


def check_parameter(name: str, scale: str, low: float, high: float, known: float | None) -> None:
    """Raise UsageError where bounds, or the value of a known parameter, make no sense.

    Args:
        name: Identifier.
        scale: The scale on which it is estimated.
        low: Lower bound.
        high: Upper bound.
        known: The nominal value where it is not estimated, None where it is.
    """
    if known is not None:
        if math.isnan(known):
            raise UsageError(f"parameter {name!r} is not estimated and has no nominalValue")
        return
    if not low < high:
        raise UsageError(
            f"expected lowerBound of {name!r} below its upperBound, received {low:g} and {high:g}"
        )
    if (scale != "lin" and high <= 0.0) or (scale != "lin" and -math.inf < low < 0.0):
        raise UsageError(
            f"expected bounds of {name!r} on the scale {scale} as positive numbers, received "
            f"{low:g} and {high:g}"
        )


def check_measurement(number: int, observable: str, scale: str, value: float, time: float) -> None:
    """Raise UsageError where a value or time of a measurement makes no sense."""
    where = f"of measurement {number}, of {observable!r},"
    if not time >= 0.0:
        raise UsageError(f"expected the time {where} as zero or more, received {time:g}")
    if math.isinf(value) or (scale != "lin" and value <= 0.0):
        kind = "a finite number" if scale == "lin" else f"a positive number (scale {scale})"
        raise UsageError(f"expected the value {where} as {kind}, received {value:g}")


def check_frame(frame: pd.DataFrame, kind: str, name: str, columns: Sequence[str]) -> None:
    """Raise SchemaError where a table lacks a column."""
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise SchemaError(
            f"the {kind} table {name} lacks the column {absent[0]!r}; it has "
            f"{', '.join(frame.columns)}"
        )


def check_problems(content: object, name: str) -> Mapping[str, object]:
    """Return the YAML file's content, of which `problems` is a list of mappings.

    Raises:
        SchemaError: It is something else.
    """
    problems = content.get("problems") if isinstance(content, dict) else None
    entries = problems if isinstance(problems, list) else []
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise SchemaError(
            f"expected {name} as the YAML file of a PEtab problem, with parameter_file and "
            "problems; it has none"
        )
    assert isinstance(content, dict)
    return content
