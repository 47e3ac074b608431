"""Right-hand sides affine in coordinates q of the parameters: rhs = f0(t, y) + F(t, y) q."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from warp_phys.systems.errors import unknown_name
from warp_phys.systems.model.assemble import assemble
from warp_phys.systems.model.equations import Equations
from warp_phys.systems.model.linear_form import LinearForm
from warp_phys.systems.model.namespace import Namespace

_SIZES: WeakKeyDictionary[Equations, Tensor] = WeakKeyDictionary()


def affine_terms(
    system: Equations,
    form: LinearForm,
    t: Any,
    y: Tensor,
    parameters: Tensor,
    inputs: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return f0 (S, *batch) and F (S, Q, *batch) of rhs = f0 + F q.

    They are read off as differences: f0 = rhs(q = 0), and column j of F is
    (rhs(q = h_j e_j) - f0) / h_j, which is exact up to rounding because the rhs is affine in q.
    """
    batch = torch.broadcast_shapes(y.shape[1:], parameters.shape[1:])
    # All points in one call of the rhs: q = 0, and a step along each coordinate.
    sizes = _sizes(system, form).to(y.dtype)
    points = torch.cat([sizes.new_zeros(1, len(sizes)), sizes.diag()])
    many = (len(points), *batch)

    def repeated(values: Tensor) -> Tensor:
        return values.expand(-1, *batch).unsqueeze(1).expand(-1, *many)

    function = rhs_of_coordinates(
        system,
        form,
        t.expand(many) if isinstance(t, Tensor) else t,
        repeated(y),
        repeated(parameters),
        None if inputs is None else repeated(inputs),
    )
    places = [1] * len(batch)
    values = function(points.T.reshape(-1, len(points), *places).expand(-1, *many))
    offset = values[:, 0]
    return offset, (values[:, 1:] - offset.unsqueeze(1)) / sizes.view(-1, *places)


def _sizes(system: Equations, form: LinearForm) -> Tensor:
    """Return the step h_j along each coordinate (Q,): the power of two nearest its usual size.

    With steps of the size of q itself the differences lose no more digits than f0 + F q does, and
    dividing by a power of two is exact.
    """
    if system not in _SIZES:
        middle = [
            0.5 * sum(entry.range or (0.0, 0.0)) if entry.fixed is None else entry.fixed
            for entry in system.parameters
        ]
        column = torch.tensor(middle, dtype=torch.float64).unsqueeze(1)
        usual = coordinates_from_parameters(system, form, column)[:, 0].abs()
        known = usual.isfinite() & (usual > 0.0)
        _SIZES[system] = torch.where(known, usual, 1.0).log2().round().exp2()
    return _SIZES[system]


def coordinates_from_parameters(system: Equations, form: LinearForm, parameters: Tensor) -> Tensor:
    """Return the coordinates q (Q, *batch) of parameters (P, *batch)."""
    p = Namespace(type(system).__name__, system.parameter_names, parameters.unbind(0))
    where = f"{type(system).__name__}.linear_form.to_coordinates"
    return assemble(form.to_coordinates(p), parameters, form.names, where)


def parameters_from_coordinates(
    system: Equations, form: LinearForm, coordinates: Tensor, parameters: Tensor
) -> Tensor:
    """Return parameters (P, *batch) from q (Q, *batch): fixed ones as given, unknown ones NaN."""
    owner = type(system).__name__
    q = Namespace(f"the linear form of {owner}", form.names, coordinates.unbind(0))
    found = form.from_coordinates(q, _known(system, parameters, None))
    for name in found:
        if name not in system.parameter_names:
            raise unknown_name(f"parameter of {owner}", name, system.parameter_names)
    unknown = torch.full_like(coordinates[0], torch.nan)
    rows = []
    for row, parameter in zip(parameters.unbind(0), system.parameters, strict=True):
        value = found.get(parameter.name) if parameter.fixed is None else row
        rows.append(unknown if value is None else value)
    return assemble(rows, coordinates, system.parameter_names, f"{owner}.from_coordinates")


def _known(system: Equations, parameters: Tensor, inputs: Tensor | None) -> Namespace:
    """Return the fixed parameters by name, None for the free ones, and the inputs."""
    values: list[Tensor | None] = [
        None if parameter.fixed is None else row
        for row, parameter in zip(parameters.unbind(0), system.parameters, strict=True)
    ]
    names = system.parameter_names
    if inputs is not None:
        names += system.input_names
        values.extend(inputs.unbind(0))
    return Namespace(type(system).__name__, names, values)


def rhs_of_coordinates(
    system: Equations,
    form: LinearForm,
    t: Any,
    y: Tensor,
    parameters: Tensor,
    inputs: Tensor | None,
) -> Callable[[Tensor], Tensor]:
    """Return the right-hand side (S, *batch) as a function of the coordinates q (Q, *batch)."""
    if system.linear_form is None:
        fixed = [parameter.fixed is not None for parameter in system.parameters]

        def of_free_parameters(q: Tensor) -> Tensor:
            free = iter(q.unbind(0))
            rows = [
                row if is_fixed else next(free)
                for row, is_fixed in zip(parameters.unbind(0), fixed, strict=True)
            ]
            complete = assemble(rows, q, system.parameter_names, "the free parameters")
            return system.derivative(t, y.expand(y.shape[:1] + q.shape[1:]), complete, inputs)

        return of_free_parameters

    p = _known(system, parameters, inputs)
    linear_rhs = system.linear_rhs  # type: ignore[attr-defined]  # comes with linear_form

    def of_declared_coordinates(q: Tensor) -> Tensor:
        named = Namespace(f"the linear form of {type(system).__name__}", form.names, q.unbind(0))
        states = y.expand(y.shape[:1] + q.shape[1:])
        where = f"{type(system).__name__}.linear_rhs"
        return assemble(linear_rhs(t, states, named, p), states, system.state_names, where)

    return of_declared_coordinates


def jacobian(function: Callable[[Tensor], Tensor], q: Tensor) -> Tensor:
    """Return dfunction/dq, (S, Q, *batch), where each batch member depends on its own q alone."""
    columns = []
    for index in range(q.shape[0]):
        direction = torch.zeros_like(q)
        direction[index] = 1.0
        columns.append(torch.func.jvp(function, (q,), (direction,))[1])
    return torch.stack(columns, dim=1)
