"""What a system declares: its states, outputs, inputs and parameters, each with its unit."""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from typing import Literal

from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.supports import Support, bounds, contains_number, describe


@dataclass(frozen=True)
class State:
    """One component of a system's state.

    Attributes:
        name: A Python identifier.
        unit: UDUNITS style; "1" if dimensionless.
        support: The set of possible values: "real", "positive" or (low, high).
        description: What it means, in a few words.
    """

    name: str
    unit: str
    support: Support = "real"
    description: str = ""

    def __post_init__(self) -> None:
        _check_names("State", self.name, self.unit)
        bounds(self.support)


@dataclass(frozen=True)
class Output:
    """One observed quantity of a system.

    Attributes:
        name: A Python identifier.
        unit: UDUNITS style; "1" if dimensionless.
        support: The set of possible values: "real", "positive" or (low, high).
        description: What it means, in a few words.
        kind: "value", or "increment": `observe` returns a running total, of which the output is the
            increase since the previous sample (since the initial time, for the first one).

    Example:
        >>> Output("new_cases", "1", kind="increment").kind
        'increment'
    """

    name: str
    unit: str
    support: Support = "real"
    description: str = ""
    kind: Literal["value", "increment"] = "value"

    def __post_init__(self) -> None:
        _check_names("Output", self.name, self.unit)
        bounds(self.support)
        if self.kind not in ("value", "increment"):
            raise UsageError(
                f"expected kind='value' or 'increment' for output {self.name!r}, "
                f"received {self.kind!r}"
            )


@dataclass(frozen=True)
class Input:
    """One external input u(t), known from a table of values at given times.

    Attributes:
        name: A Python identifier.
        unit: UDUNITS style; "1" where dimensionless.
        description: What it means, in a few words.
        between: "linear" between the times of the table, or "held": the last value, as a valve or
            a digital controller gives it. Before the first time and after the last it is held.
    """

    name: str
    unit: str
    description: str = ""
    between: Literal["linear", "held"] = "linear"

    def __post_init__(self) -> None:
        _check_names("Input", self.name, self.unit)
        if self.between not in ("linear", "held"):
            raise UsageError(
                f"expected between='linear' or 'held' for input {self.name!r}, "
                f"received {self.between!r}"
            )


@dataclass(frozen=True)
class Parameter:
    """One parameter of a system.

    Attributes:
        name: A Python identifier.
        unit: UDUNITS style; "1" where dimensionless.
        support: The set of possible values: "real", "positive" or (low, high).
        range: Usual values, (low, high) inside the support; simulations draw from it and fits start
            in its middle. Required unless `fixed` is given.
        fixed: Its known value, or None if it is free.
        description: What it means, in a few words.

    Example:
        >>> Parameter("length", "m", support="positive", range=(0.5, 2.0)).range
        (0.5, 2.0)
    """

    name: str
    unit: str
    support: Support = "real"
    range: tuple[float, float] | None = None
    fixed: float | None = None
    description: str = ""

    def __post_init__(self) -> None:
        _check_names("Parameter", self.name, self.unit)
        bounds(self.support)
        if self.range is None and self.fixed is None:
            raise UsageError(
                f"parameter {self.name!r} is free and has no range; "
                "give range=(low, high), or a known value as fixed=..."
            )
        if self.range is not None:
            check_range(f"parameter {self.name!r}", self.range, self.support)
        if self.fixed is not None and not contains_number(self.fixed, self.support):
            raise UsageError(
                f"parameter {self.name!r} is fixed at {self.fixed!r} {self.unit}, "
                f"outside its support ({describe(self.support)})"
            )


def check_range(owner: str, pair: object, support: Support) -> tuple[float, float]:
    """Return `pair` as (low, high); UsageError unless it ascends inside the support."""
    ends = list(pair) if isinstance(pair, tuple | list) else []
    if (
        len(ends) != 2
        or not all(contains_number(end, "real") for end in ends)
        or ends[0] >= ends[1]
    ):
        raise UsageError(f"{owner} needs a range (low, high) with low < high; received {pair!r}")
    if not all(contains_number(end, support) for end in ends):
        raise UsageError(
            f"the range {pair!r} of {owner} leaves its support ({describe(support)}); "
            "narrow the range or widen the support"
        )
    return float(ends[0]), float(ends[1])


def _check_names(kind: str, name: object, unit: object) -> None:
    valid = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
    if not valid or str(name).startswith("_"):
        raise UsageError(
            f"{kind} needs a name that is a public Python identifier, like 'prey'; "
            f"received {name!r}"
        )
    if not isinstance(unit, str) or not unit.strip():
        raise UsageError(
            f"{kind} {name!r} needs a unit as text, like 'm/s' (or '1' where it has none); "
            f"received {unit!r}"
        )
