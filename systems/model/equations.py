"""The equations of a system: what its author declares and writes, evaluated in known shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.assemble import assemble
from warp_phys.systems.model.dosing import Dosing
from warp_phys.systems.model.events import Event
from warp_phys.systems.model.linear_form import LinearForm
from warp_phys.systems.model.namespace import Namespace
from warp_phys.systems.model.quantities import Input, Output, Parameter, State


class Equations:
    """The base class of `System`: attributes and methods without checks and options.

    The modules that check, describe or reshape a system depend on this class, and `System` depends
    on them.
    """

    time_unit: str = "1"
    states: tuple[State, ...] = ()
    outputs: tuple[Output, ...] = ()
    inputs: tuple[Input, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    events: tuple[Event, ...] = ()
    dosing: tuple[Dosing, ...] = ()
    default_initial_state: Mapping[str, float | tuple[float, float]] = {}
    default_times: Sequence[float] | Any = tuple(0.5 * step for step in range(21))
    reference: str = ""
    linear_form: LinearForm | None = None

    # Methods that the author of a system writes.

    def rhs(self, t: Any, y: Tensor, p: Any) -> Tensor | Sequence[Any]:
        """Return the S time derivatives of the state, each of shape (*batch)."""
        raise NotImplementedError(f"{type(self).__name__} has no rhs")

    def observe(self, t: Any, y: Tensor, p: Any) -> Tensor | Sequence[Any]:
        """Return the O outputs, each of shape (*batch); the states themselves by default."""
        return y

    def initial_state(self, p: Any) -> Sequence[Any] | None:
        """Return the S initial states if the parameters determine them, otherwise None."""
        return None

    def solution(self, t: Any, y0: Tensor, p: Any) -> Tensor | Sequence[Any]:
        """Return the S states in closed form, a time `t` after the state was `y0`."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form")

    def invariants(self, t: Any, y: Tensor, p: Any) -> Mapping[str, Tensor]:
        """Return quantities that are constant along every solution, by name."""
        return {}

    # Methods that the rest of the package calls, on tensors.

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the states, in order."""
        return tuple(state.name for state in self.states)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(output.name for output in self.outputs)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the external inputs, in order."""
        return tuple(entry.name for entry in self.inputs)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of all parameters, in order, fixed ones included."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def free_parameters(self) -> tuple[Parameter, ...]:
        """The parameters that are not fixed, in order."""
        return tuple(parameter for parameter in self.parameters if parameter.fixed is None)

    @property
    def free_names(self) -> tuple[str, ...]:
        """Names of the parameters that are not fixed, in order."""
        return tuple(parameter.name for parameter in self.free_parameters)

    @property
    def has_solution(self) -> bool:
        """Whether the system has a closed form; with inputs, events or dosing it is not used."""
        declared = type(self).solution is not Equations.solution
        return declared and not (self.inputs or self.events or self.dosing)

    @property
    def has_initial_state(self) -> bool:
        """Whether the parameters give the initial state."""
        return type(self).initial_state is not Equations.initial_state

    @property
    def observes_all_states(self) -> bool:
        """Whether the outputs are the states, unchanged and in order."""
        return type(self).observe is Equations.observe and not self.increments

    @property
    def increments(self) -> tuple[int, ...]:
        """Positions of the outputs that are increases of a total since the previous sample."""
        return tuple(place for place, entry in enumerate(self.outputs) if entry.kind == "increment")

    def namespace(self, parameters: Tensor, inputs: Tensor | None = None) -> Namespace:
        """Return parameters (P, *batch) and inputs (I, *batch) by name, each (*batch)."""
        names, values = self.parameter_names, parameters.unbind(0)
        if inputs is not None:
            names, values = names + self.input_names, values + inputs.unbind(0)
        return Namespace(type(self).__name__, names, values)

    def derivative(
        self, t: Any, y: Tensor, parameters: Tensor, inputs: Tensor | None = None
    ) -> Tensor:
        """Return dy/dt, (S, *batch), of states (S, *batch) and parameters (P, *batch)."""
        self._need_inputs(inputs)
        derivatives = self.rhs(t, y, self.namespace(parameters, inputs))
        return assemble(derivatives, y, self.state_names, f"{type(self).__name__}.rhs")

    def outputs_at(
        self, t: Any, y: Tensor, parameters: Tensor, inputs: Tensor | None = None
    ) -> Tensor:
        """Return the outputs, (O, *batch), of states (S, *batch) and parameters (P, *batch).

        An output of the kind "increment" is returned as its running total.
        """
        if type(self).observe is not Equations.observe:
            self._need_inputs(inputs)
        values = self.observe(t, y, self.namespace(parameters, inputs))
        return assemble(values, y, self.output_names, f"{type(self).__name__}.observe")

    def solution_at(self, t: Tensor, y0: Tensor, parameters: Tensor) -> Tensor:
        """Return the states (S, *batch) a time `t` (*batch) after they were `y0` (closed form)."""
        values = self.solution(t, y0, self.namespace(parameters))
        return assemble(values, y0, self.state_names, f"{type(self).__name__}.solution")

    def initial_state_at(self, parameters: Tensor) -> Tensor | None:
        """Return the initial states (S, *batch) if the parameters determine them, else None."""
        values = self.initial_state(self.namespace(parameters))
        if values is None:
            return None
        where = f"{type(self).__name__}.initial_state"
        return assemble(values, parameters, self.state_names, where)

    def condition_at(
        self, number: int, t: Any, y: Tensor, parameters: Tensor, inputs: Tensor | None = None
    ) -> Tensor:
        """Return whether the condition of an event holds, (*batch), see `derivative`."""
        self._need_inputs(inputs)
        time = torch.as_tensor(t, dtype=y.dtype, device=y.device)
        holds = self.events[number].condition(time, y, self.namespace(parameters, inputs))
        where = f"the condition of {type(self).__name__}.events[{number}]"
        if not isinstance(holds, Tensor) or holds.dtype != torch.bool:
            kind = f"a tensor of {holds.dtype}" if isinstance(holds, Tensor) else repr(holds)
            raise UsageError(
                f"{where} should be a comparison of time, states or parameters, like y[0] < 0.0; "
                f"received {kind}"
            )
        return _expanded(holds, y, where)

    def new_state_at(
        self, number: int, t: Any, y: Tensor, parameters: Tensor, inputs: Tensor | None = None
    ) -> Tensor:
        """Return the states (S, *batch) after an event at which they were `y`."""
        self._need_inputs(inputs)
        time = torch.as_tensor(t, dtype=y.dtype, device=y.device)
        p, rows = self.namespace(parameters, inputs), list(y.unbind(0))
        for name, value in self.events[number].new_state.items():
            found = value(time, y, p) if callable(value) else value
            where = f"the new value of {name!r} in {type(self).__name__}.events[{number}]"
            tensor = torch.as_tensor(found, dtype=y.dtype, device=y.device)
            rows[self.state_names.index(name)] = _expanded(tensor, y, where)
        return torch.stack(rows)

    def _need_inputs(self, inputs: Tensor | None) -> None:
        if self.inputs and inputs is None:
            raise UsageError(
                f"{type(self).__name__} has inputs ({', '.join(self.input_names)}); expected their "
                "values in inputs=, received none"
            )


def _expanded(value: Tensor, like: Tensor, where: str) -> Tensor:
    """Return a value in the batch shape of states (S, *batch)."""
    batch = like.shape[1:]
    try:
        return value.expand(batch)
    except RuntimeError as error:
        raise UsageError(
            f"{where} should be one value for each trajectory, of shape {tuple(batch)}; received "
            f"shape {tuple(value.shape)}; y[0] is the first state, y all of them"
        ) from error
