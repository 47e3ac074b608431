"""The events of an SBML model: triggers and assignments as expressions.

An event happens when its trigger becomes true. The trigger also becomes true at the start where it
holds then and the event says that it was false before (`initialValue`). Without a delay, it does
not matter whether an event is persistent or takes its values from the time of the trigger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from warp_phys.petab.expressions import Expression, Name, Operation
from warp_phys.petab.formulas import Formulas
from warp_phys.systems.errors import UnsupportedError

_STRICT = {"ge": "gt", "le": "lt"}
_OPPOSITE = {"ge": "lt", "le": "gt", "gt": "le", "lt": "ge", "and": "or", "or": "and"}


@dataclass(frozen=True)
class SbmlEvent:
    """One event.

    Attributes:
        name: Its identifier.
        trigger: Comparisons by order, which "and" and "or" combine.
        held_before: Whether the trigger counts as true before the start.
        values: What quantities become.
    """

    name: str
    trigger: Expression
    held_before: bool
    values: dict[str, Expression]


def unsupported_events(source: Any) -> Iterator[str]:
    """Yield what cannot be translated of the events of libsbml's model, each in words."""
    for what, present in (
        ("a delay", lambda event: event.isSetDelay()),
        ("a priority", lambda event: event.isSetPriority()),
        ("no trigger", lambda event: not (event.isSetTrigger() and event.getTrigger().isSetMath())),
    ):
        names = [_name(event) for event in source.getListOfEvents() if present(event)]
        if names:
            yield f"events with {what} ({', '.join(names)})"
    changed = {
        assignment.getVariable()
        for event in source.getListOfEvents()
        for assignment in event.getListOfEventAssignments()
    }
    sizes = sorted(name for name in changed if source.getCompartment(name))
    if sizes:
        yield f"events that change the size of compartments ({', '.join(sizes)})"


def read_events(source: Any, formulas: Formulas, file: str) -> tuple[SbmlEvent, ...]:
    """Return the events of libsbml's model.

    Raises:
        UnsupportedError: A trigger is not made of comparisons by order.
    """
    found = []
    for event in source.getListOfEvents():
        trigger, name = event.getTrigger(), _name(event)
        math = formulas.convert(trigger.getMath(), f"the trigger of event {name!r} in {file}")
        found.append(
            SbmlEvent(
                name,
                _without_not(math, name, file),
                # Before Level 3 it counts as true: nothing happens at the start.
                not trigger.isSetInitialValue() or trigger.getInitialValue(),
                {
                    one.getVariable(): formulas.convert(
                        one.getMath(), f"event {name!r}, {one.getVariable()!r}, in {file}"
                    )
                    for one in event.getListOfEventAssignments()
                    if one.isSetMath()
                },
            )
        )
    return tuple(found)


def _name(event: Any) -> str:
    return event.getId() or event.getName() or "without a name"


def _without_not(trigger: Expression, name: str, file: str, *, true: bool = True) -> Expression:
    """Return a trigger, or its opposite, in comparisons by order, "and" and "or"."""
    operation = getattr(trigger, "operation", "")
    parts: tuple[Expression, ...] = getattr(trigger, "arguments", ())
    if operation == "not":
        return _without_not(parts[0], name, file, true=not true)
    if operation in ("and", "or"):
        inner = tuple(_without_not(part, name, file, true=true) for part in parts)
        return Operation(operation if true else _OPPOSITE[operation], inner)
    if operation in _OPPOSITE and len(parts) == 2:
        return Operation(operation if true else _OPPOSITE[operation], parts)
    raise UnsupportedError(
        f"the trigger of event {name!r} in {file} is not made of comparisons of two numbers by "
        "<, <=, > or >= that and, or and not combine, which is not supported"
    )


def after_the_start(
    state: str, events: Sequence[SbmlEvent], initial: Callable[[Expression], Expression]
) -> Expression:
    """Return the initial value of a state, after the events that happen at the start.

    Where a comparison is on its very boundary, such as time >= 0, what happens depends on what
    follows: that is left to the integration.

    Args:
        state: Its identifier.
        events: All events.
        initial: Returns an expression with initial values.
    """
    cases: list[Expression] = []
    for event in reversed(events):
        if not event.held_before and state in event.values:
            cases += [initial(event.values[state]), initial(_strictly(event.trigger))]
    before = Name(f"initial {state}")
    return Operation("piecewise", (*cases, before)) if cases else before


def _strictly(trigger: Expression) -> Expression:
    """Return a trigger that does not hold on the boundary of its comparisons."""
    if not isinstance(trigger, Operation):
        return trigger
    parts = trigger.arguments
    if trigger.operation in ("and", "or"):
        parts = tuple(_strictly(part) for part in parts)
    return Operation(_STRICT.get(trigger.operation, trigger.operation), parts)
