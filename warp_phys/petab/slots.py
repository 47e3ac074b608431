"""Slots: quantities that conditions or measurements set, and how a system has them.

A slot holds a number, a parameter of the parameter table or the model's own value, by trajectory,
and where a condition is equilibrated before time zero, possibly another one before. In the system
it becomes

- nothing, where it is the same everywhere: the number or parameter itself;
- a known parameter, where it holds different numbers;
- a parameter that groups of trajectories share, where it holds estimated ones of its own;
- a known external input, where it holds numbers that change at time zero;
- otherwise the sum of a known number and of parameters times known zeros and ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from warp_phys.petab.expressions import Expression, Name, Number, product, sum_of
from warp_phys.petab.tables import TableParameter, Value

Floats = NDArray[np.float64]

DEFAULT = ""
"""The model's own value: no identifier is empty."""


@dataclass(frozen=True)
class Slot:
    """The values of one slot.

    Attributes:
        name: What it sets.
        start: Value of each of N trajectories where the initial state is taken.
        later: Value from time zero on.
    """

    name: str
    start: tuple[Value, ...]
    later: tuple[Value, ...]

    @property
    def values(self) -> list[Value]:
        """Every value, once."""
        return list(dict.fromkeys((*self.start, *self.later)))

    @property
    def names(self) -> list[str]:
        """Every parameter among the values, once."""
        return [value for value in self.values if isinstance(value, str) and value != DEFAULT]

    @property
    def changes(self) -> bool:
        """Whether a value changes at time zero."""
        return self.start != self.later


@dataclass
class Resolved:
    """What slots become.

    Attributes:
        expressions: Expressions by name, "slot X" and "start X".
        parameters: Values of the system's parameters by leaf, "own X": one for each trajectory.
        inputs: Values of the system's inputs by leaf, "input X", before and from time zero.
    """

    expressions: dict[str, Expression] = field(default_factory=dict)
    parameters: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    inputs: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)


def resolve(
    slots: Sequence[Slot], direct: set[str], parameters: Mapping[str, TableParameter]
) -> Resolved:
    """Return what the slots become.

    Args:
        slots: The slots that the equations need.
        direct: Parameters that the equations need without a slot.
        parameters: The parameter table.
    """
    users: dict[str, set[str]] = {name: {""} for name in direct}
    for slot in slots:
        for name in slot.names:
            users.setdefault(name, set()).add(slot.name)
    result = Resolved()
    for slot in slots:
        if len(slot.values) == 1:
            _same(slot, result)
        elif _alone(slot, users, parameters):
            result.parameters[f"own {slot.name}"] = slot.later
            for kind in ("slot", "start"):
                result.expressions[f"{kind} {slot.name}"] = Name(f"own {slot.name}")
        else:
            _mixed(slot, result)
    return result


def _alone(
    slot: Slot, users: Mapping[str, set[str]], parameters: Mapping[str, TableParameter]
) -> bool:
    """Return whether the slot can be one parameter that groups of trajectories share."""
    if DEFAULT in slot.values or slot.changes:
        return False
    entries = [parameters[name] for name in slot.names]
    if len({(entry.scale, entry.lower, entry.upper) for entry in entries}) > 1:
        return False
    if any(users[name] != {slot.name} for name in slot.names):
        return False
    # A known value must lie on the support that the estimated ones have.
    real = all(entry.scale == "lin" for entry in entries)
    return real or all(value > 0.0 for value in slot.values if isinstance(value, float))


def _same(slot: Slot, result: Resolved) -> None:
    value = slot.values[0]
    found = Number(value) if isinstance(value, float) else _named(slot, value)
    result.expressions[f"slot {slot.name}"] = found
    result.expressions[f"start {slot.name}"] = found


def _named(slot: Slot, value: str) -> Expression:
    return Name(f"default {slot.name}" if value == DEFAULT else f"parameter {value}")


def _mixed(slot: Slot, result: Resolved) -> None:
    """Write a slot as a number plus parameters, each times one where it holds, else zero."""

    def weights(of: Callable[[Value], float]) -> tuple[Floats, Floats]:
        pair = (slot.start, slot.later)
        start, later = (np.array([of(value) for value in values]) for values in pair)
        return start, later

    numbers = weights(lambda value: value if isinstance(value, float) else 0.0)
    terms: list[tuple[str, Expression, tuple[Floats, Floats]]] = [(slot.name, Number(1.0), numbers)]
    for value in slot.values:
        if isinstance(value, str):
            is_value = weights(lambda other, value=value: float(other == value))  # type: ignore[misc]
            name = f"{slot.name}_is_{value or 'default'}"
            terms.append((name, _named(slot, value), is_value))
    later_terms, start_terms = [], []
    for name, factor, (start, later) in terms:
        if not (start.any() or later.any()):
            continue
        now, before = _known(name, start, later, result)
        later_terms.append(product(now, factor))
        start_terms.append(product(before, factor))
    result.expressions[f"slot {slot.name}"] = sum_of(later_terms)
    result.expressions[f"start {slot.name}"] = sum_of(start_terms)


def _known(
    name: str, start: Floats, later: Floats, result: Resolved
) -> tuple[Expression, Expression]:
    """Return known numbers as expressions, from time zero on and where the state is initial."""
    if (start == later).all():
        if (start == start[0]).all():
            return Number(float(start[0])), Number(float(start[0]))
        result.parameters[f"own {name}"] = tuple(start.tolist())
        return Name(f"own {name}"), Name(f"own {name}")
    result.inputs[f"input {name}"] = (start, later)
    result.parameters[f"own {name}_before"] = tuple(start.tolist())
    return Name(f"input {name}"), Name(f"own {name}_before")
