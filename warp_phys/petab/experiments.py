"""What each experiment sets: the slots of a problem, from its conditions and measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from warp_phys.petab.expressions import Number
from warp_phys.petab.observables import OutputFormulas, placeholder
from warp_phys.petab.sbml_model import Model
from warp_phys.petab.slots import DEFAULT, Slot
from warp_phys.petab.tables import Tables, Value
from warp_phys.petab.trajectories import Layout, Trajectory
from warp_phys.systems.errors import UnsupportedError, UsageError, unknown_name


def number_or_estimated(tables: Tables, model: Model) -> Callable[[Value], Value]:
    """Return the function that makes numbers of identifiers that are not estimated."""

    def resolve(value: Value) -> Value:
        if not isinstance(value, str):
            return value
        parameter = tables.parameters.get(value)
        if parameter is not None:
            return value if parameter.estimated else parameter.nominal
        constant = model.initial.get(value)
        if isinstance(constant, Number) and value not in model.rates:
            return constant.value
        raise unknown_name("parameter of the parameter table", value, tables.parameters)

    return resolve


def condition_slots(
    tables: Tables,
    model: Model,
    trajectories: Sequence[Trajectory],
    resolve: Callable[[Value], Value],
) -> list[Slot]:
    """Return the slots that the columns of the condition table set."""
    names = dict.fromkeys(name for row in tables.conditions.values() for name in row)
    slots = []
    for name in names:
        if name not in tables.parameters and model.source[0].getElementBySId(name) is None:
            raise UsageError(
                f"the condition table has the column {name!r}, which is neither in {model.file} "
                "nor in the parameter table"
            )
        if name in model.rules:
            raise UnsupportedError(
                f"the condition table sets {name!r}, which a rule of {model.file} determines"
            )
        own = _own_value(name, tables, model, resolve)
        start, later = [], []
        for one in trajectories:
            now = tables.conditions[one.condition].get(name)
            if one.before is None:
                start.append(own if now is None else resolve(now))
                later.append(start[-1])
                continue
            before = tables.conditions[one.before].get(name)
            start.append(own if before is None else resolve(before))
            if name in model.rates and now is not None and one.before != one.condition:
                raise UnsupportedError(
                    f"condition {one.condition!r} sets the state {name!r} after the steady state "
                    f"of condition {one.before!r}, which is not supported"
                )
            kept = start[-1] if name in model.species else own
            later.append(kept if now is None else resolve(now))
        # A state has one initial value; what the condition says holds at the start.
        slots.append(Slot(name, tuple(start), tuple(start if name in model.rates else later)))
    return slots


def _own_value(name: str, tables: Tables, model: Model, resolve: Callable[[Value], Value]) -> Value:
    """Return what a quantity is where no condition sets it."""
    if name in tables.parameters:
        return resolve(name)
    own = model.initial.get(name)
    return own.value if isinstance(own, Number) else DEFAULT


def check_noise_values(formulas: Sequence[OutputFormulas], layout: Layout) -> None:
    """Raise UsageError where a measurement lacks a parameter of its noise."""
    for cell, values in zip(layout.cells, layout.noise_values, strict=True):
        one = formulas[cell[2]]
        if len(values) < one.noise_placeholders:
            raise UsageError(
                f"expected {one.noise_placeholders} noiseParameters in the measurements of "
                f"{one.observable.name!r}, received {len(values)}"
            )


def placeholder_slots(
    formulas: Sequence[OutputFormulas], trajectories: Sequence[Trajectory]
) -> list[Slot]:
    """Return the slots that the column observableParameters of the measurements sets."""
    slots = []
    for output, one in enumerate(formulas):
        given = [trajectory.overrides.get(output) for trajectory in trajectories]
        for values in given:
            if values is not None and len(values) < one.placeholders:
                raise UsageError(
                    f"expected {one.placeholders} observableParameters in the measurements of "
                    f"{one.observable.name!r}, received {len(values)}"
                )
        for place in range(one.placeholders):
            first = next(values[place] for values in given if values is not None)
            # Where the output is not measured, its parameters do not matter.
            every = tuple(first if values is None else values[place] for values in given)
            name = placeholder("observable", place + 1, one.name)
            slots.append(Slot(name, every, every))
    return slots
