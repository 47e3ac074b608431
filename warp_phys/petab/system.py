"""The system of a PEtab problem: a right-hand side that evaluates expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from warp_phys.petab.evaluation import Evaluation
from warp_phys.petab.expressions import Expression
from warp_phys.petab.sbml_events import SbmlEvent
from warp_phys.petab.symbolic import Symbolic
from warp_phys.systems.compiling.expression import Expression as Scalar
from warp_phys.systems.compiling.expressions import Expressions
from warp_phys.systems.model.events import Event
from warp_phys.systems.model.quantities import Input, Output, Parameter, State
from warp_phys.systems.model.system import System


@dataclass(frozen=True)
class SystemEquations:
    """The equations of a system.

    Attributes:
        definitions: Expressions by name.
        states: Position of each state by leaf, "state X".
        names: Names of parameters and inputs by leaf.
        rates: Rate of change of each state.
        initial: Initial value of each state.
        outputs: The outputs.
        events: The events.
    """

    definitions: Mapping[str, Expression]
    states: Mapping[str, int]
    names: Mapping[str, str]
    rates: tuple[Expression, ...]
    initial: tuple[Expression, ...]
    outputs: tuple[Expression, ...]
    events: tuple[SbmlEvent, ...]

    def evaluation(self, t: Any, y: Tensor, p: Any) -> Evaluation:
        """Return an evaluation of the definitions at a time, states and parameters."""

        def leaf(name: str) -> Any:
            place = self.states.get(name)
            return getattr(p, self.names[name]) if place is None else y[place]

        return Evaluation(self.definitions, leaf, t, torch.zeros_like(y[0]))


class PetabSystem(System):
    """A system read from a PEtab problem.

    Its names are the identifiers of the problem, where they are Python identifiers. Values have the
    units of the SBML model, which PEtab does not name, and times those of the measurements.
    """

    equations: ClassVar[SystemEquations]

    def rhs(self, t: Any, y: Tensor, p: Any) -> list[Any]:
        """See `System`."""
        evaluation = self.equations.evaluation(t, y, p)
        return [evaluation.value(rate) for rate in self.equations.rates]

    def observe(self, t: Any, y: Tensor, p: Any) -> list[Any]:
        """See `System`."""
        evaluation = self.equations.evaluation(t, y, p)
        return [evaluation.value(output) for output in self.equations.outputs]

    def initial_state(self, p: Any) -> list[Any]:
        """See `System`."""
        like = getattr(p, self.parameter_names[0])
        evaluation = self.equations.evaluation(0.0, like.unsqueeze(0), p)
        return [evaluation.value(value) for value in self.equations.initial]

    def expressions(self, function: str, table: Expressions) -> list[Scalar]:
        """See `Symbolic` of `systems/compiling/tracing.py`."""
        equations = self.equations
        places = {name: f"p[{place}]" for place, name in enumerate(self.parameter_names)}
        places |= {name: f"u[{place}]" for place, name in enumerate(self.input_names)}
        variables = {leaf: places[name] for leaf, name in equations.names.items()}
        variables |= {leaf: f"y[{place}]" for leaf, place in equations.states.items()}
        roots, time = {
            "rhs": (equations.rates, table.variable("t")),
            "observe": (equations.outputs, table.variable("t")),
            "initial_state": (equations.initial, table.constant(0.0)),
        }[function]
        written = Symbolic(equations.definitions, variables, table, time)
        return [written.value(root) for root in roots]


def make_system(
    name: str,
    reference: str,
    equations: SystemEquations,
    states: tuple[State, ...],
    outputs: tuple[Output, ...],
    inputs: tuple[Input, ...],
    parameters: tuple[Parameter, ...],
    times: tuple[float, ...],
) -> PetabSystem:
    """Return a system of its own class, which is how a system declares what it has."""
    declared = {
        "__doc__": f"The model of the PEtab problem {reference}.",
        "__module__": PetabSystem.__module__,
        "states": states,
        "outputs": outputs,
        "inputs": inputs,
        "parameters": parameters,
        "default_times": times,
        "default_initial_state": dict.fromkeys((state.name for state in states), 0.0),
        "reference": reference,
        "equations": equations,
        "events": tuple(_event(equations, event, states) for event in equations.events),
    }
    system: PetabSystem = type(name, (PetabSystem,), declared)()
    return system


def _event(equations: SystemEquations, event: SbmlEvent, states: tuple[State, ...]) -> Event:
    """Return an event as a system declares it."""

    def function(expression: Expression) -> Callable[[Any, Tensor, Any], Any]:
        return lambda t, y, p: equations.evaluation(t, y, p).value(expression)

    names = {name: states[place].name for name, place in equations.states.items()}
    return Event(
        function(event.trigger),
        {names[f"state {name}"]: function(value) for name, value in event.values.items()},
        event.name,
    )
