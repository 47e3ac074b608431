"""From tables and model to a system, with where the values of its parameters come from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from warp_phys.petab.definitions import Definitions
from warp_phys.petab.experiments import (
    check_noise_values,
    condition_slots,
    number_or_estimated,
    placeholder_slots,
)
from warp_phys.petab.expressions import Expression, Name, Number, names_in, replaced
from warp_phys.petab.names import Names
from warp_phys.petab.observables import OutputFormulas, output_formulas, placeholder
from warp_phys.petab.outputs import Outputs, plain_outputs
from warp_phys.petab.sbml_events import SbmlEvent
from warp_phys.petab.sbml_model import Model
from warp_phys.petab.slots import DEFAULT, Floats, Resolved, Slot, resolve
from warp_phys.petab.system import PetabSystem, SystemEquations, make_system
from warp_phys.petab.tables import TableParameter, Tables, Value
from warp_phys.petab.trajectories import Layout, arrange
from warp_phys.petab.weighted_outputs import weighted_outputs
from warp_phys.systems.errors import UnsupportedError
from warp_phys.systems.model.quantities import Input, Output, Parameter, State

STEADY_START = -1.0
"""The time of steady states: before zero, when inputs change from what was equilibrated."""


@dataclass(frozen=True)
class Assembled:
    """A system, and how the problem's parameters become those of each trajectory.

    Attributes:
        system: The system.
        layout: The trajectories.
        formulas: The formulas of the outputs.
        definitions: Expressions by name that the noise needs besides those of the system.
        sources: For each parameter of the system, a number or parameter of the problem by
            trajectory.
        inputs: For each input of the system, its values before and from time zero.
        resolved: What conditions and measurements set, also for the noise alone.
        outputs: The outputs of the system, whose own inputs come after `inputs`.
    """

    system: PetabSystem
    layout: Layout
    formulas: tuple[OutputFormulas, ...]
    definitions: dict[str, Expression]
    sources: tuple[tuple[Value, ...], ...]
    inputs: tuple[tuple[Floats, Floats], ...]
    resolved: Resolved
    outputs: Outputs


def assemble(tables: Tables, model: Model, *, weighted: bool = False) -> Assembled:
    """Return the system of a problem and the sources of its parameters.

    Args:
        tables: The tables.
        model: The model.
        weighted: Whether the outputs hold the noise, see `weighted_outputs.py`.

    Raises:
        UsageError: A formula needs something that nothing defines.
        UnsupportedError: The problem needs something that is not supported.
    """
    number = number_or_estimated(tables, model)
    layout = arrange(tables.measurements, number)
    formulas = output_formulas(layout.outputs, dict(tables.observables), model)
    check_noise_values(formulas, layout)
    slots = {
        slot.name: slot
        for slot in (
            *condition_slots(tables, model, layout.trajectories, number),
            *placeholder_slots(formulas, layout.trajectories),
        )
    }
    observables = {one.observable.name: one.formula for one in formulas}
    definitions = Definitions(model, tables.parameters.keys(), slots.keys(), observables)
    equations = _equations(definitions, model, layout)
    outputs = (weighted_outputs if weighted else plain_outputs)(formulas, layout)
    for name, expression in zip(outputs.names, outputs.expressions, strict=True):
        definitions.need(expression, f"the observable {name!r}")
    direct = {
        name.partition(" ")[2] for name in definitions.leaves if name.startswith("parameter ")
    }
    for one in formulas:
        definitions.need(_without_placeholders(one), f"the noiseFormula of {one.name!r}")
    resolved = _resolve(definitions, slots, direct, tables)
    return _declare(tables, model, layout, formulas, definitions, resolved, equations, outputs)


@dataclass(frozen=True)
class _Equations:
    """Rates of change and initial values of the states, and the events of a model."""

    rates: list[Expression]
    initial: list[Expression]
    events: tuple[SbmlEvent, ...]

    def expressions(self) -> list[Expression]:
        """Return all expressions."""
        of_events = [
            part for event in self.events for part in (event.trigger, *event.values.values())
        ]
        return [*self.rates, *self.initial, *of_events]


def _equations(definitions: Definitions, model: Model, layout: Layout) -> _Equations:
    """Return the equations of a model, after defining what they need."""
    if model.events and any(one.before is not None for one in layout.trajectories):
        raise UnsupportedError(
            f"{model.file} has events, and experiments begin in a steady state, in which they may "
            "happen on the way; that is not supported"
        )
    rates = [definitions.need(rate, f"the rate of {name!r}") for name, rate in model.rates.items()]
    initial = [definitions.initial(name) for name in model.rates]
    for event in model.events:
        for part in (event.trigger, *event.values.values()):
            definitions.need(part, f"the event {event.name!r}")
    return _Equations(rates, initial, model.events)


def _without_placeholders(one: OutputFormulas) -> Expression:
    """Return the noise of an output, with a number for each placeholder, which has a value."""
    own = {placeholder("noise", place + 1, one.name) for place in range(one.noise_placeholders)}
    return replaced(one.noise, lambda name: Number(1.0) if name in own else Name(name))


def _resolve(
    definitions: Definitions, slots: dict[str, Slot], direct: set[str], tables: Tables
) -> Resolved:
    """Return what the slots in use become, and define what they need."""
    used: dict[str, Slot] = {}
    while True:
        # The model's own value of one slot may need another.
        found = {
            name.partition(" ")[2]
            for name in definitions.leaves
            if name.startswith(("slot ", "start "))
        }
        new = sorted(found - used.keys())
        if not new:
            break
        for name in new:
            used[name] = slots[name]
            if DEFAULT in slots[name].values:
                definitions.need(Name(f"default {name}"), f"the condition table, column {name!r}")
    resolved = resolve(list(used.values()), direct, tables.parameters)
    for name, expression in resolved.expressions.items():
        if name in definitions.leaves:
            definitions.need(expression, f"the condition table, {name!r}")
    return resolved


def _declare(
    tables: Tables,
    model: Model,
    layout: Layout,
    formulas: Sequence[OutputFormulas],
    definitions: Definitions,
    resolved: Resolved,
    equations: _Equations,
    outputs: Outputs,
) -> Assembled:
    """Declare states, outputs, inputs and parameters, and make the system."""
    if not model.rates:
        raise UnsupportedError(f"{model.file} has no differential equation")
    expressions = {**definitions.expressions, **resolved.expressions}
    leaves = _leaves((*equations.expressions(), *outputs.expressions), expressions)
    names, output_names = Names(), Names()
    count = len(layout.trajectories)
    states = tuple(State(names.unique(name), "1") for name in model.rates)
    by_leaf: dict[str, str] = {}
    parameters, sources = [], []
    for identifier in tables.parameters:
        leaf = f"parameter {identifier}"
        if leaf in leaves:
            entry = tables.parameters[identifier]
            by_leaf[leaf] = names.unique(identifier)
            parameters.append(_table_parameter(by_leaf[leaf], [entry]))
            value: Value = identifier if entry.estimated else entry.nominal
            sources.append((value,) * count)
    for leaf, values in resolved.parameters.items():
        if leaf in leaves:
            by_leaf[leaf] = names.unique(leaf.partition(" ")[2])
            entries = [tables.parameters[v] for v in dict.fromkeys(values) if isinstance(v, str)]
            known = next((v for v in values if not isinstance(v, str)), 0.0)
            parameters.append(
                _table_parameter(by_leaf[leaf], entries)
                if entries
                else Parameter(by_leaf[leaf], "1", fixed=known)
            )
            sources.append(values)
    inputs = {leaf: pair for leaf, pair in resolved.inputs.items() if leaf in leaves}
    for leaf in (*inputs, *outputs.inputs):
        by_leaf[leaf] = names.unique(leaf.partition(" ")[2])
    system = make_system(
        _class_name(tables.name),
        tables.name,
        SystemEquations(
            definitions=expressions,
            states={f"state {name}": place for place, name in enumerate(model.rates)},
            names=by_leaf,
            rates=tuple(equations.rates),
            initial=tuple(equations.initial),
            outputs=tuple(outputs.expressions),
            events=equations.events,
        ),
        states,
        tuple(
            Output(output_names.unique(name), "1", support=support, description=description)
            for name, support, description in zip(
                outputs.names, outputs.supports, outputs.descriptions, strict=True
            )
        ),
        tuple(Input(by_leaf[leaf], "1", between="held") for leaf in (*inputs, *outputs.inputs)),
        tuple(parameters),
        _default_times(layout),
    )
    return Assembled(
        system,
        layout,
        tuple(formulas),
        expressions,
        tuple(sources),
        tuple(inputs.values()),
        resolved,
        outputs,
    )


def _leaves(roots: Iterable[Expression], definitions: Mapping[str, Expression]) -> set[str]:
    """Return the names without definition that expressions end in."""
    waiting = [name for root in roots for name in names_in(root)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            if name in definitions:
                waiting.extend(names_in(definitions[name]))
    return seen - definitions.keys()


def _table_parameter(name: str, entries: Sequence[TableParameter]) -> Parameter:
    """Return a parameter of the table, or one that is several of them in groups."""
    entry = entries[0]
    if not entry.estimated:
        return Parameter(name, "1", fixed=entry.nominal)
    # A nominal value of zero, which has no logarithm, must be on the support.
    positive = entry.scale != "lin" and not entry.nominal <= 0.0
    support = "positive" if positive else "real"
    return Parameter(name, "1", support=support, range=usual_range(entry))  # type: ignore[arg-type]


def usual_range(entry: TableParameter) -> tuple[float, float]:
    """Return the bounds of a parameter, made finite, and positive where its scale is a logarithm.

    Without a bound the range reaches three decades, or ten times its size, from the nominal value.
    """
    low, high, middle = entry.lower, entry.upper, entry.nominal
    if entry.scale != "lin":
        middle = middle if math.isfinite(middle) and middle > 0.0 else 1.0
        high = high if math.isfinite(high) else 1e3 * max(middle, low)
        return (low if low > 0.0 else 1e-6 * min(middle, high), high)
    reach = 10.0 * max(1.0, abs(middle) if math.isfinite(middle) else 1.0)
    return (low if math.isfinite(low) else -reach, high if math.isfinite(high) else reach)


def _class_name(name: str) -> str:
    words = Names().unique(name).split("_")
    return "".join(word[:1].upper() + word[1:] for word in words)


def _default_times(layout: Layout) -> tuple[float, ...]:
    end = float(np.nanmax(layout.times))
    return tuple(np.linspace(0.0, end if end > 0.0 else 1.0, 21).tolist())
