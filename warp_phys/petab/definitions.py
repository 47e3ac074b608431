"""Definitions: every quantity that the equations of a problem need, by name.

A quantity X has up to two definitions: "X", its value at the present time, and "initial X", its
value where the states have their initial values. What the definitions end in, the leaves, are
"state X", "parameter X" (of the parameter table), and "slot X", a quantity that conditions or
measurements set, which is "start X" where it is taken when the initial state is.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from warp_phys.petab.expressions import (
    TIME,
    Expression,
    Name,
    Number,
    Operation,
    names_in,
    replaced,
)
from warp_phys.petab.sbml_events import after_the_start
from warp_phys.petab.sbml_model import Model
from warp_phys.systems.errors import UsageError


class Definitions:
    """Collects the definitions that expressions need.

    Args:
        model: The SBML model.
        parameters: Identifiers of the parameter table.
        slots: Quantities that conditions or measurements set.
        further: Further expressions by name, such as observables.
    """

    def __init__(
        self,
        model: Model,
        parameters: Set[str],
        slots: Set[str],
        further: Mapping[str, Expression],
    ) -> None:
        self._model = model
        self._parameters = parameters
        self._slots = slots
        self._further = further
        self.expressions: dict[str, Expression] = {}
        self.leaves: set[str] = set()

    def need(self, expression: Expression, where: str) -> Expression:
        """Return an expression, after defining everything that it needs.

        Raises:
            UsageError: It needs something that is unknown, or itself.
        """
        # A stack instead of recursion: chains of rules can be long.
        waiting = [(name, where) for name in names_in(expression)]
        while waiting:
            name, place = waiting.pop()
            if name in self.expressions or name in self.leaves:
                continue
            found = self._define(name, place)
            if found is None:
                self.leaves.add(name)
                continue
            self.expressions[name] = found
            waiting.extend((inner, f"the definition of {name!r}") for inner in names_in(found))
        return expression

    def initial(self, state: str) -> Expression:
        """Return the initial value of a state, after events that happen at the start."""
        value = after_the_start(state, self._model.events, self._renamed)
        return self.need(value, f"the initial value of {state!r}")

    def _define(self, name: str, where: str) -> Expression | None:
        """Return the definition of a name, None for a leaf."""
        kind, _, rest = name.partition(" ")
        if rest and kind == "initial":
            return self._initial(rest)
        if rest and kind == "default":
            return self._default(rest)
        if rest:
            return None
        if name in self._model.rates:
            return Name(f"state {name}")
        if name in self._model.rules:
            return self._model.rules[name]
        if name in self._slots:
            return Name(f"slot {name}")
        if name in self._parameters:
            return Name(f"parameter {name}")
        if name in self._model.initial:
            return self._constant(name)
        if name in self._further:
            return self._further[name]
        raise UsageError(
            f"{where} needs {name!r}, which has no value: it is neither in the parameter table nor "
            f"set by {self._model.file}"
        )

    def _constant(self, name: str) -> Expression:
        """Return the value of a constant, which an initial assignment may compute."""
        model = self._model

        def at_start(inner: str) -> Expression:
            moving = inner in model.rates or inner in model.rules
            return Name(f"initial {inner}" if moving else inner)

        return without_time(replaced(model.initial[name], at_start))

    def _initial(self, name: str) -> Expression:
        model = self._model
        if name in model.rules:
            return self._renamed(model.rules[name])
        if name in self._slots:
            return Name(f"start {name}")
        if name in model.rates and name not in self._parameters:
            return self._default(name)
        if name in model.initial and name not in self._parameters:
            return self._renamed(model.initial[name])
        return Name(f"parameter {name}" if name in self._parameters else name)

    def _default(self, name: str) -> Expression:
        """Return what the model itself gives a quantity that a condition may set."""
        if name not in self._model.initial:
            raise UsageError(
                f"{name!r} has no initial value in {self._model.file}, and not every condition "
                "sets one"
            )
        return self._renamed(self._model.initial[name])

    def _renamed(self, expression: Expression) -> Expression:
        return without_time(replaced(expression, lambda inner: Name(f"initial {inner}")))


def without_time(expression: Expression) -> Expression:
    """Return the expression at time zero, when the simulation of a condition begins."""
    if expression == TIME:
        return Number(0.0)
    if isinstance(expression, Operation):
        return Operation(
            expression.operation, tuple(without_time(part) for part in expression.arguments)
        )
    return expression
