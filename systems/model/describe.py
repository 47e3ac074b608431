"""Descriptions of systems: the table that `repr` prints, and the longer `describe`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from warp_phys.systems.model.equations import Equations
from warp_phys.systems.model.quantities import Input, Output, Parameter, State
from warp_phys.systems.model.supports import describe


def table(system: Equations) -> str:
    """Return states, outputs, inputs and parameters, one a line, with units and ranges."""
    rows = [
        _row("state", state, describe(state.support), _start(system, state))
        for state in system.states
    ]
    if not system.observes_all_states:
        rows += [_row("output", entry, describe(entry.support), "") for entry in system.outputs]
    rows += [_row("input", entry, "", "") for entry in system.inputs]
    rows += [
        _row("parameter", entry, describe(entry.support), _values(entry))
        for entry in system.parameters
    ]
    rows += [
        ("event", ", ".join(event.new_state), "", "", "", event.description)
        for event in system.events
    ]
    rows += [("doses", one.state, "", "", "", ", ".join(one.names)) for one in system.dosing]
    counts = [
        _counted(len(system.states), "state"),
        _counted(len(system.outputs), "output"),
        _counted(len(system.parameters), "parameter") + f" ({len(system.free_names)} free)",
    ]
    title = f"{type(system).__name__}: {', '.join(counts)}; time in {system.time_unit}"
    return "\n".join([title, *_aligned(rows)])


def describe_system(system: Equations) -> str:
    """Return the docstring, the table and the reference of a system."""
    parts = [inspect.getdoc(type(system)) or "", table(system)]
    if system.reference:
        parts.append(f"Reference: {system.reference}")
    return "\n\n".join(part for part in parts if part)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _row(
    kind: str, entry: State | Output | Input | Parameter, support: str, values: str
) -> tuple[str, ...]:
    return kind, entry.name, entry.unit, support, values, entry.description


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _start(system: Equations, state: State) -> str:
    if system.has_initial_state:
        return "starts where the parameters say"
    value = system.default_initial_state[state.name]
    if isinstance(value, tuple | list):
        return f"starts in {value[0]:g} to {value[1]:g}"
    return f"starts at {value:g}"


def _values(parameter: Parameter) -> str:
    if parameter.fixed is not None:
        return f"fixed at {parameter.fixed:g}"
    low, high = parameter.range or (float("nan"), float("nan"))
    return f"{low:g} to {high:g}"
