"""Traces a system's torch functions, with forward-mode derivatives, to symbolic expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule

from warp_phys.systems.compiling.conditions import check_condition
from warp_phys.systems.compiling.differentiate import gradients
from warp_phys.systems.compiling.directions import Direction, Directional, along
from warp_phys.systems.compiling.discontinuities import Discontinuity, discontinuities
from warp_phys.systems.compiling.expression import Expression
from warp_phys.systems.compiling.expressions import Expressions
from warp_phys.systems.compiling.recording import TracingError, on_expressions, record
from warp_phys.systems.compiling.trace_check import check_traced, middle, scattered
from warp_phys.systems.model.system import System

Row = tuple[Expression, ...]


@dataclass(frozen=True)
class TracedFunction:
    """A function of t, states, parameters and inputs, with its derivatives.

    Attributes:
        values: R expressions.
        by_state: R rows of S derivatives by the states.
        by_parameter: R rows of P derivatives by the parameters.
        by_time: R total derivatives by time at fixed states, where input i changes at rate `v[i]`.
    """

    values: Row
    by_state: tuple[Row, ...]
    by_parameter: tuple[Row, ...]
    by_time: Row

    @property
    def slopes(self) -> list[Expression]:
        """All derivatives."""
        rows = (*self.by_state, *self.by_parameter, self.by_time)
        return [entry for row in rows for entry in row]


@dataclass(frozen=True)
class TracedEvent:
    """An event of a system, see `Event`.

    Attributes:
        condition: A truth value: comparisons of numbers, combined by "and", "or" and "not".
        new_state: The S states after the event, as a function of those before.
    """

    condition: Expression
    new_state: TracedFunction


@dataclass(frozen=True, eq=False)
class SystemGraph:
    """The functions of a system, as expressions of `t`, `y[i]`, `p[j]` and `u[k]`.

    Attributes:
        n_states: S.
        n_parameters: P, the fixed ones included.
        n_inputs: I.
        n_outputs: O.
        rhs: The S time derivatives.
        observe: The O outputs.
        solution: The S states in closed form, in which `y` is the state at the initial time and
            `t` the time since then; None where the system has none.
        initial_state: The S initial states; None if the parameters do not determine them.
        events: The events, in the order of their declaration.
        discontinuities: What the comparisons in the right-hand side change where they change.
    """

    n_states: int
    n_parameters: int
    n_inputs: int
    n_outputs: int
    rhs: TracedFunction
    observe: TracedFunction
    solution: TracedFunction | None
    initial_state: TracedFunction | None
    events: tuple[TracedEvent, ...]
    discontinuities: Mapping[Expression, Discontinuity]

    @property
    def observes_states(self) -> bool:
        """Whether the outputs are the states, unchanged and in the same order."""
        names = [f"y[{index}]" for index in range(self.n_states)]
        return [value.leaf for value in self.observe.values] == names


@runtime_checkable
class Symbolic(Protocol):
    """A system that writes its functions as expressions, which then are not traced."""

    def expressions(self, function: str, table: Expressions) -> Sequence[Expression]:
        """Return the components of a function, without truth values among them.

        Args:
            function: "rhs", "observe", "solution" or "initial_state".
            table: Makes the expressions, of the variables that `SystemGraph` names.
        """
        ...


Function = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def trace_system(system: System) -> SystemGraph:
    """Trace the functions of a system to expressions, derivatives included.

    The functions run once on plain numbers while torch records their operations and those of their
    forward derivatives (torch.func.jvp). The record is compared with the functions at other points.

    Raises:
        TracingError: An operation is not known, the control flow depends on values, or the
            functions return something else when they run again.
    """
    tracer = _Tracer(system)
    closed = (lambda t, y, p, _: system.solution_at(t, y, p)) if system.has_solution else None
    rhs = tracer.trace("rhs", system.derivative)
    return SystemGraph(
        n_states=len(system.states),
        n_parameters=len(system.parameters),
        n_inputs=len(system.inputs),
        n_outputs=len(system.outputs),
        rhs=rhs,
        observe=tracer.trace("observe", system.outputs_at),
        solution=tracer.trace("solution", closed) if closed else None,
        initial_state=_trace_initial_state(tracer, system),
        events=tuple(_trace_event(tracer, system, place) for place in range(len(system.events))),
        discontinuities=discontinuities(rhs.values, rhs.slopes, scattered(system, 32)),
    )


def _trace_initial_state(tracer: _Tracer, system: System) -> TracedFunction | None:
    if not system.has_initial_state:
        return None

    def start(t: Tensor, y: Tensor, p: Tensor, u: Tensor | None) -> Tensor:
        values = system.initial_state_at(p)
        if values is None:
            raise TracingError("initial_state gives None, so the parameters do not give it")
        return values

    return tracer.trace("initial_state", start)


def _trace_event(tracer: _Tracer, system: System, number: int) -> TracedEvent:
    where = f"events[{number}]"

    def holds(t: Tensor, y: Tensor, p: Tensor, u: Tensor | None) -> Tensor:
        return system.condition_at(number, t, y, p, u).unsqueeze(0)

    def after(t: Tensor, y: Tensor, p: Tensor, u: Tensor | None) -> Tensor:
        return system.new_state_at(number, t, y, p, u)

    condition = tracer.truth(f"{where}.condition", holds)
    check_condition(condition, f"{type(system).__name__}.{where}")
    return TracedEvent(condition, tracer.recorded(f"{where}.new_state", after))


class _Tracer:
    """Traces the functions of one system into one set of shared expressions."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._expressions = Directional()
        counts = {"y": system.states, "p": system.parameters, "u": system.inputs}
        self._variables = {"t": self._column(["t"]).reshape(1)} | {
            letter: self._column([f"{letter}[{index}]" for index in range(len(entries))])
            for letter, entries in counts.items()
        }
        self._tangents = {
            letter: self._unit_tangents(letter, variables)
            for letter, variables in self._variables.items()
        }

    def _unit_tangents(self, letter: str, variables: np.ndarray) -> np.ndarray:
        """Return dx of each variable x: one along its own direction.

        Along time, dt = 1 and the inputs change at the rates v, the states and parameters not at
        all.
        """
        e = self._expressions
        tangents = np.empty(variables.shape, dtype=object)
        for row in range(len(variables)):
            slope = e.variable(f"v[{row}]") if letter == "u" else e.constant(1.0)
            direction = ("t", 0) if letter == "u" else (letter, row)
            tangents[row] = e.unit({direction: slope})
        return tangents

    def _column(self, names: Sequence[str]) -> np.ndarray:
        result = np.empty((len(names), 1), dtype=object)
        for place, name in enumerate(names):
            result[place, 0] = self._expressions.variable(name)
        return result

    def trace(self, name: str, function: Function) -> TracedFunction:
        """Return a function of the system, as it writes it or as torch records it."""
        if not isinstance(self._system, Symbolic):
            return self.recorded(name, function)
        traced = self._written(self._system.expressions(name, self._expressions))
        self._check(name, function, traced.values)
        return traced

    def recorded(self, name: str, function: Function) -> TracedFunction:
        """Return a function of which torch records the operations and their derivatives."""
        where = self._where(name)
        module = _record_dual(where, function, middle(self._system))
        arguments = [*self._variables.values(), *self._tangents.values()]
        found = on_expressions(where, self._expressions, module, arguments)
        number = self._expressions.number
        values, slopes = ([number(one) for one in column.ravel()] for column in found)
        self._check(name, function, values)
        return TracedFunction(
            values=tuple(values),
            by_state=self._columns(slopes, "y"),
            by_parameter=self._columns(slopes, "p"),
            by_time=tuple(self._along(slope, ("t", 0)) for slope in slopes),
        )

    def truth(self, name: str, function: Function) -> Expression:
        """Return a function whose value is a truth value (1, n)."""
        where = self._where(name)

        def called(t: Tensor, y: Tensor, p: Tensor, u: Tensor) -> Tensor:
            return function(t, y, p, u if len(u) else None)

        module = record(where, called, list(middle(self._system).values()))
        arguments = list(self._variables.values())
        (holds,) = on_expressions(where, self._expressions, module, arguments).ravel()
        value = self._expressions.mask(holds)
        self._check(name, function, [value])
        return value

    def _where(self, name: str) -> str:
        return f"{type(self._system).__name__}.{name}"

    def _check(self, name: str, function: Function, values: Sequence[Expression]) -> None:
        # A branch on values leaves only the branch taken in the record, which shows at other
        # points.
        difference = check_traced(self._system, function, values)
        if difference is not None:
            where = self._where(name)
            raise TracingError(f"{where} is not what was recorded of it: {difference}")

    def _written(self, values: Sequence[Expression]) -> TracedFunction:
        """Return a function that was written as expressions, with their derivatives."""
        e = self._expressions
        names = {
            letter: [str(variable.leaf) for variable in variables.ravel()]
            for letter, variables in self._variables.items()
        }
        values = [e.number(value) for value in values]
        slopes = gradients(values, [name for listed in names.values() for name in listed])
        zero = e.constant(0.0)
        by_time = []
        for found in slopes:
            rate = found.get("t", zero)
            for place, name in enumerate(names["u"]):
                rate = rate + found.get(name, zero) * e.variable(f"v[{place}]")
            by_time.append(rate)
        return TracedFunction(
            values=tuple(values),
            by_state=tuple(tuple(found.get(name, zero) for name in names["y"]) for found in slopes),
            by_parameter=tuple(
                tuple(found.get(name, zero) for name in names["p"]) for found in slopes
            ),
            by_time=tuple(by_time),
        )

    def _columns(self, slopes: Sequence[Expression], letter: str) -> tuple[Row, ...]:
        """Return the derivatives of each component by the variables of one letter."""
        directions = [(letter, place) for place in range(len(self._variables[letter]))]
        return tuple(tuple(self._along(slope, one) for one in directions) for slope in slopes)

    def _along(self, slope: Expression, direction: Direction) -> Expression:
        return self._expressions.lift(along(slope, direction))


def _record_dual(where: str, function: Function, point: Mapping[str, Tensor]) -> GraphModule:
    """Return torch's record of a function of t, y, p, u and its Jacobian-vector product."""

    def dual(*arguments: Tensor) -> Any:
        def called(t: Tensor, y: Tensor, p: Tensor, u: Tensor) -> Tensor:
            return function(t, y, p, u if len(u) else None)

        return torch.func.jvp(called, arguments[:4], arguments[4:])

    directions = [torch.ones_like(value) for value in point.values()]
    return record(where, dual, [*point.values(), *directions])
