"""The contract of a system: what is declared, what is computed, and in which shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.affine_probe import find_linear_form
from warp_phys.systems.model.assemble import assemble
from warp_phys.systems.model.declaration import (
    check_declaration,
    complete_initial_state,
    snake_case,
    with_options,
)
from warp_phys.systems.model.describe import describe_system, table
from warp_phys.systems.model.linear_form import (
    LinearForm,
    affine_terms,
    coordinates_from_parameters,
    parameters_from_coordinates,
)
from warp_phys.systems.model.namespace import Namespace
from warp_phys.systems.model.quantities import Input, Output, Parameter, State


class System:
    r"""A physical model y' = rhs(t, y; p): subclass it, declare what it has, write `rhs`.

    Shapes: S states, O outputs, I inputs, P parameters (all that are declared, in order, the
    fixed ones included), and any batch shape behind: `y` is (S, \*batch) and unpacks into its
    states, `p.name` is (\*batch), `t` is (\*batch) or a scalar. All are torch tensors. Use torch
    functions inside, so that derivatives can be taken.

    Class attributes:
        time_unit: Unit of time, UDUNITS style.
        states: One `State` for each component, in order.
        outputs: One `Output` for each observed quantity; the states where not given.
        inputs: One `Input` for each external input, read as `p.name`.
        parameters: One `Parameter` each, in order.
        default_initial_state: State name -> number or (low, high). What is left out is 1, or the
            middle of the state's support where that is an interval.
        default_times: A time grid, starting at 0, that shows the system well.
        reference: Where the equations come from.
        linear_form: See `LinearForm`; with it comes the method `linear_rhs(t, y, q, p)`.

    Keyword arguments of an instance change what is known: `Pendulum(g=9.78)` fixes a parameter,
    `Pendulum(g=None)` frees one that has a range, `Pendulum(g=(9.7, 9.9))` frees it with this one.

    Raises:
        UsageError: The declaration is inconsistent; the message says where.

    Example:
        >>> import torch
        >>> class Decay(System):
        ...     '''Exponential decay, y' = -rate y.'''
        ...     states = (State("amount", "kg"),)
        ...     parameters = (Parameter("rate", "1/s", support="positive", range=(0.1, 2.0)),)
        ...     time_unit = "s"
        ...     def rhs(self, t, y, p):
        ...         return (-p.rate * y[0],)
        >>> Decay().derivative(0.0, torch.tensor([2.0]), torch.tensor([0.5]))
        tensor([-1.])
    """

    time_unit: str = "1"
    states: tuple[State, ...] = ()
    outputs: tuple[Output, ...] = ()
    inputs: tuple[Input, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    default_initial_state: Mapping[str, float | tuple[float, float]] = {}
    default_times: Sequence[float] | Any = tuple(0.5 * step for step in range(21))
    reference: str = ""
    linear_form: LinearForm | None = None

    name: ClassVar[str] = "system"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = snake_case(cls.__name__)
        if cls.states:
            check_declaration(cls)

    def __init__(self, **fixed: float | tuple[float, float] | None) -> None:
        if not self.states:
            check_declaration(type(self))
        self.parameters = with_options(type(self).__name__, self.parameters, fixed)
        self.outputs = self.outputs or tuple(
            Output(state.name, state.unit, state.support, state.description)
            for state in self.states
        )
        self.default_initial_state = complete_initial_state(self.states, self.default_initial_state)
        self.options = dict(fixed)

    # What a system's author writes.

    def rhs(self, t: Any, y: Tensor, p: Any) -> Tensor | Sequence[Any]:
        """Return the S time derivatives of the state, each of shape (*batch)."""
        raise NotImplementedError(f"{type(self).__name__} has no rhs")

    def observe(self, t: Any, y: Tensor, p: Any) -> Tensor | Sequence[Any]:
        """Return the O outputs, each of shape (*batch); the states themselves by default."""
        return y

    def initial_state(self, p: Any) -> Sequence[Any] | None:
        """Return the S initial states where they follow from the parameters, else None."""
        return None

    def solution(self, t: Any, y0: Tensor, p: Any) -> Tensor | Sequence[Any]:
        """Return the S states in closed form, a time `t` after the state was `y0`."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form")

    def invariants(self, t: Any, y: Tensor, p: Any) -> Mapping[str, Tensor]:
        """Return what stays constant along every solution, by name."""
        return {}

    # What the rest of the package calls: tensors in, tensors out.

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
        """Whether the system has a closed form (which knows nothing of external inputs)."""
        return type(self).solution is not System.solution and not self.inputs

    @property
    def has_initial_state(self) -> bool:
        """Whether the parameters give the initial state."""
        return type(self).initial_state is not System.initial_state

    @property
    def observes_all_states(self) -> bool:
        """Whether the outputs are the states, unchanged and in order."""
        return type(self).observe is System.observe

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
        """Return the outputs, (O, *batch), of states (S, *batch) and parameters (P, *batch)."""
        if not self.observes_all_states:
            self._need_inputs(inputs)
        values = self.observe(t, y, self.namespace(parameters, inputs))
        return assemble(values, y, self.output_names, f"{type(self).__name__}.observe")

    def solution_at(self, t: Tensor, y0: Tensor, parameters: Tensor) -> Tensor:
        """Return the states (S, *batch) a time `t` (*batch) after they were `y0` (closed form)."""
        values = self.solution(t, y0, self.namespace(parameters))
        return assemble(values, y0, self.state_names, f"{type(self).__name__}.solution")

    def initial_state_at(self, parameters: Tensor) -> Tensor | None:
        """Return the initial states (S, *batch) where the parameters give them, else None."""
        values = self.initial_state(self.namespace(parameters))
        if values is None:
            return None
        where = f"{type(self).__name__}.initial_state"
        return assemble(values, parameters, self.state_names, where)

    def _need_inputs(self, inputs: Tensor | None) -> None:
        if self.inputs and inputs is None:
            raise UsageError(
                f"{type(self).__name__} has inputs ({', '.join(self.input_names)}); expected their "
                "values in inputs=, received none"
            )

    # The right-hand side where it is affine in coordinates q of the parameters.

    @cached_property
    def affine_form(self) -> LinearForm | None:
        """The declared `linear_form`; else q = free parameters where the rhs is affine in them."""
        return find_linear_form(self)

    def affine_terms(
        self, t: Any, y: Tensor, parameters: Tensor, inputs: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | None:
        """Return f0 (S, *batch) and F (S, Q, *batch) of rhs = f0 + F q; None where not affine.

        Only the fixed parameters are read from `parameters` (P, *batch).
        """
        return affine_terms(self, t, y, parameters, inputs)

    def coordinates_from_parameters(self, parameters: Tensor) -> Tensor:
        """Return the affine coordinates q (Q, *batch) of parameters (P, *batch)."""
        return coordinates_from_parameters(self, parameters)

    def parameters_from_coordinates(self, coordinates: Tensor, parameters: Tensor) -> Tensor:
        """Return parameters (P, *batch) from q (Q, *batch), NaN where q does not determine them.

        The fixed ones are taken from `parameters` (P, *batch).
        """
        return parameters_from_coordinates(self, coordinates, parameters)

    # Words.

    def describe(self) -> str:
        """Return the system's documentation and its table of states, outputs and parameters."""
        return describe_system(self)

    def __repr__(self) -> str:
        return table(self)
