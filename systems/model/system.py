"""The base class of every physical model, with its checks, options and affine form."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.affine import (
    affine_terms,
    coordinates_from_parameters,
    parameters_from_coordinates,
)
from warp_phys.systems.model.affine_probe import find_linear_form
from warp_phys.systems.model.declaration import (
    check_declaration,
    check_functions_of_events,
    complete_initial_state,
    snake_case,
    with_options,
)
from warp_phys.systems.model.describe import describe_system, table
from warp_phys.systems.model.equations import Equations
from warp_phys.systems.model.linear_form import LinearForm
from warp_phys.systems.model.quantities import Output


class System(Equations):
    r"""A physical model y' = rhs(t, y; p): subclass it, declare what it has, write `rhs`.

    Shapes: S states, O outputs, I inputs, P parameters (all that are declared, in order, including
    fixed ones), followed by any batch shape: `y` is (S, \*batch) and unpacks into its
    states, `p.name` is (\*batch), `t` is (\*batch) or a scalar. All are torch tensors. Use torch
    functions inside, so that derivatives can be taken.

    Class attributes:
        time_unit: Unit of time, UDUNITS style.
        states: One `State` for each component, in order.
        outputs: One `Output` for each observed quantity; by default the states.
        inputs: One `Input` for each external input, read as `p.name`.
        parameters: One `Parameter` each, in order.
        events: One `Event` for each jump of the state under a condition: resets, thresholds,
            switches with hysteresis.
        dosing: One `Dosing` for each state whose doses have a lag time, a duration or a
            bioavailability among the parameters.
        default_initial_state: State name -> number or (low, high). States left out start at 1, or
            in the middle of their support if that is an interval.
        default_times: A time grid that starts at 0 and shows the typical behavior of the system.
        reference: Where the equations come from.
        linear_form: See `LinearForm`; requires the method `linear_rhs(t, y, q, p)`.

    Keyword arguments of an instance change which parameters are known: `Pendulum(g=9.78)` fixes a
    parameter, `Pendulum(g=None)` frees one that has a range, `Pendulum(g=(9.7, 9.9))` frees it with
    a new range.

    Raises:
        UsageError: The declaration is inconsistent; the message says where.

    Example:
        >>> import torch
        >>> from warp_phys.systems import Parameter, State
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
        check_functions_of_events(self)

    # The right-hand side where it is affine in coordinates q of the parameters.

    @cached_property
    def affine_form(self) -> LinearForm | None:
        """The declared `linear_form`, or q = free parameters if the rhs is affine in them."""
        return find_linear_form(self)

    def affine_terms(
        self, t: Any, y: Tensor, parameters: Tensor, inputs: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | None:
        """Return f0 (S, *batch) and F (S, Q, *batch) of rhs = f0 + F q; None if not affine.

        Only the fixed parameters are read from `parameters` (P, *batch).
        """
        form = self.affine_form
        return None if form is None else affine_terms(self, form, t, y, parameters, inputs)

    def coordinates_from_parameters(self, parameters: Tensor) -> Tensor:
        """Return the affine coordinates q (Q, *batch) of parameters (P, *batch)."""
        return coordinates_from_parameters(self, self._required_form(), parameters)

    def parameters_from_coordinates(self, coordinates: Tensor, parameters: Tensor) -> Tensor:
        """Return parameters (P, *batch) from q (Q, *batch); NaN if q does not determine them.

        The fixed ones are taken from `parameters` (P, *batch).
        """
        form = self._required_form()
        return parameters_from_coordinates(self, form, coordinates, parameters)

    def _required_form(self) -> LinearForm:
        if self.affine_form is None:
            raise UsageError(
                f"the right-hand side of {type(self).__name__} is not affine in its free "
                f"parameters ({', '.join(self.free_names) or 'none'}); declare linear_form and "
                "linear_rhs, or fix the parameters that enter non-linearly"
            )
        return self.affine_form

    # Text for people.

    def describe(self) -> str:
        """Return the system's documentation and its table of states, outputs and parameters."""
        return describe_system(self)

    def __repr__(self) -> str:
        return table(self)
