"""Checks of what a system's class declares, and the options of its instances."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.dosing import Dosing
from warp_phys.systems.model.equations import Equations
from warp_phys.systems.model.events import Event
from warp_phys.systems.model.quantities import Input, Output, Parameter, State, check_range
from warp_phys.systems.model.supports import bounds, contains_number, describe

InitialValue = float | tuple[float, float]


def snake_case(name: str) -> str:
    """Return a class name in lower case with underscores.

    Example:
        >>> snake_case("MassSpringDamper"), snake_case("SIR")
        ('mass_spring_damper', 'sir')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def check_declaration(cls: type[Equations]) -> None:
    """Raise UsageError where the class attributes of a system contradict each other."""
    owner = cls.__name__
    if not cls.states:
        raise UsageError(
            f"{owner} declares no states; write states = (State('name', 'unit'),) in its class"
        )
    for attribute, kind in (
        ("states", State),
        ("outputs", Output),
        ("inputs", Input),
        ("parameters", Parameter),
        ("events", Event),
        ("dosing", Dosing),
    ):
        _check_entries(owner, attribute, kind, getattr(cls, attribute))
    _check_unique(f"{owner}.states", [state.name for state in cls.states])
    _check_unique(f"{owner}.outputs", [output.name for output in cls.outputs])
    _check_unique(
        f"{owner}.parameters and {owner}.inputs",
        [parameter.name for parameter in cls.parameters] + [entry.name for entry in cls.inputs],
    )
    _check_events(cls)
    _check_dosing(cls)
    _check_methods(cls)
    _check_initial_state(owner, cls.states, cls.default_initial_state)
    _check_times(owner, cls.default_times)


def check_functions_of_events(system: Equations) -> None:
    """Raise UsageError where the functions of an event return something else than they should.

    They are called once, at the initial state and in the middle of the ranges.
    """
    if not system.events:
        return

    def column(values: Sequence[Any]) -> Tensor:
        middles = [float(np.mean(value)) for value in values]
        return torch.tensor(middles, dtype=torch.float64).reshape(-1, 1)

    y = column([system.default_initial_state[name] for name in system.state_names])
    p = column(
        [
            entry.fixed if entry.fixed is not None else entry.range or 1.0
            for entry in system.parameters
        ]
    )
    u = column([1.0] * len(system.inputs))
    t = torch.zeros(1, dtype=torch.float64)
    for number in range(len(system.events)):
        system.condition_at(number, t, y, p, u if system.inputs else None)
        system.new_state_at(number, t, y, p, u if system.inputs else None)


def with_options(
    owner: str,
    parameters: Sequence[Parameter],
    options: Mapping[str, float | tuple[float, float] | None],
) -> tuple[Parameter, ...]:
    """Return the parameters with some fixed (number) or freed (None or a range)."""
    names = [parameter.name for parameter in parameters]
    for name in options:
        if name not in names:
            raise unknown_name(f"parameter of {owner}", name, names)
    return tuple(
        _with_option(parameter, options[parameter.name]) if parameter.name in options else parameter
        for parameter in parameters
    )


def complete_initial_state(
    states: Sequence[State], declared: Mapping[str, InitialValue]
) -> dict[str, InitialValue]:
    """Return an initial value for every state, in order."""
    return {state.name: declared.get(state.name, _usual_value(state)) for state in states}


def _with_option(parameter: Parameter, value: object) -> Parameter:
    if value is None and parameter.range is None:
        raise UsageError(
            f"parameter {parameter.name!r} has no range, which it needs once it is free; "
            f"write {parameter.name}=(low, high)"
        )
    if value is None:
        return dataclasses.replace(parameter, fixed=None)
    if isinstance(value, tuple | list):
        pair = check_range(f"parameter {parameter.name!r}", value, parameter.support)
        return dataclasses.replace(parameter, range=pair, fixed=None)
    if not isinstance(value, Real):
        raise UsageError(
            f"expected a number, None or (low, high) for parameter {parameter.name!r}; "
            f"received {value!r}"
        )
    return dataclasses.replace(parameter, fixed=float(value))


def _usual_value(state: State) -> float:
    low, high = bounds(state.support)
    return 0.5 * (low + high) if np.isfinite([low, high]).all() else 1.0


def _check_entries(owner: str, attribute: str, kind: type, entries: object) -> None:
    if not isinstance(entries, tuple | list) or not all(isinstance(e, kind) for e in entries):
        examples = {Event: "condition, new_state", Dosing: "'state', lag='lag'"}
        example = examples.get(kind, "'name', 'unit'")
        raise UsageError(
            f"{owner}.{attribute} should be a tuple of {kind.__name__}, "
            f"like ({kind.__name__}({example}),); received {entries!r}"
        )


def _check_unique(owner: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"names in {owner} should differ; {', '.join(twice)} came more than once")


def _check_events(cls: type[Equations]) -> None:
    known = [state.name for state in cls.states]
    for number, event in enumerate(cls.events):
        for name in event.new_state:
            if name not in known:
                where = f"state in the new_state of {cls.__name__}.events[{number}]"
                raise unknown_name(where, name, known)


def _check_dosing(cls: type[Equations]) -> None:
    owner = cls.__name__
    known = {parameter.name: parameter for parameter in cls.parameters}
    states = [state.name for state in cls.states]
    _check_unique(f"{owner}.dosing", [one.state for one in cls.dosing])
    for one in cls.dosing:
        if one.state not in states:
            raise unknown_name(f"state in {owner}.dosing", one.state, states)
        for name in one.names:
            if name not in known:
                raise unknown_name(f"parameter in {owner}.dosing", name, known)
        for name in filter(None, (one.lag, one.duration)):
            if bounds(known[name].support)[0] < 0.0:
                raise UsageError(
                    f"parameter {name!r} of {owner} is a time after a dose, which cannot be below "
                    "zero; give it support='positive' or (0.0, high)"
                )


def _check_methods(cls: type[Equations]) -> None:
    owner = cls.__name__
    if cls.rhs is Equations.rhs:
        raise UsageError(f"{owner} declares states but has no method rhs(self, t, y, p)")
    if cls.outputs and cls.observe is Equations.observe and len(cls.outputs) != len(cls.states):
        raise UsageError(
            f"{owner} declares {len(cls.outputs)} outputs and {len(cls.states)} states; "
            "write observe(self, t, y, p), which says how outputs follow from states"
        )
    if cls.linear_form is not None and not hasattr(cls, "linear_rhs"):
        raise UsageError(f"{owner} has a linear_form but no method linear_rhs(self, t, y, q, p)")


def _check_initial_state(
    owner: str, states: Sequence[State], declared: Mapping[str, InitialValue]
) -> None:
    supports = {state.name: state.support for state in states}
    for name, value in declared.items():
        if name not in supports:
            raise unknown_name(f"state in {owner}.default_initial_state", name, supports)
        label = f"the initial state {name!r} of {owner}"
        if isinstance(value, tuple | list):
            check_range(label, value, supports[name])
        elif not contains_number(value, supports[name]):
            raise UsageError(
                f"{label} is {value!r}, outside its support ({describe(supports[name])})"
            )


def _check_times(owner: str, times: object) -> None:
    grid = np.asarray(times, dtype=float)
    if grid.ndim != 1 or grid.size < 2 or not (np.diff(grid) > 0).all():
        raise UsageError(f"{owner}.default_times should be ascending numbers; received {times!r}")
