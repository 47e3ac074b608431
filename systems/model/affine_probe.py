"""Finding out whether a right-hand side is affine in its free parameters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.model.affine import jacobian, rhs_of_coordinates
from warp_phys.systems.model.equations import Equations
from warp_phys.systems.model.linear_form import LinearForm
from warp_phys.systems.model.supports import bounds

_PROBES = 16
_TOLERANCE = 1e-9


def find_linear_form(system: Equations) -> LinearForm | None:
    """Return the declared form, or q = free parameters where the rhs is affine in them."""
    if system.linear_form is not None:
        return system.linear_form
    if not system.free_names:
        return None
    form = LinearForm(
        names=system.free_names,
        units=tuple(parameter.unit for parameter in system.free_parameters),
        to_coordinates=partial(_pick, system.free_names),
        from_coordinates=partial(_name, system.free_names),
    )
    return form if _is_affine(system, form) else None


def _pick(names: Sequence[str], p: Any) -> list[Tensor]:
    return [getattr(p, name) for name in names]


def _name(names: Sequence[str], q: Any, p: Any) -> dict[str, Tensor | None]:
    return {name: getattr(q, name) for name in names}


def _is_affine(system: Equations, form: LinearForm) -> bool:
    """Compare derivatives at the origin and at two random points, and values with the plane."""
    generator = torch.Generator().manual_seed(0)
    y = _random_states(system, generator)
    t = _uniform(generator, 0.0, 1.0)
    inputs = torch.stack([_uniform(generator, -1.0, 1.0) for _ in system.inputs] or [t])
    points = [_random_parameters(system, generator) for _ in range(2)]
    function = rhs_of_coordinates(system, form, t, y, points[0], inputs if system.inputs else None)
    origin = y.new_zeros((len(form.names), _PROBES))
    value, slope = function(origin), jacobian(function, origin)
    if not (slope != 0.0).any(dim=2).any(dim=0).all():  # a parameter that the rhs ignores
        return False
    for parameters in points:
        q = _free_rows(system, parameters)
        plane = value + (slope * q).sum(dim=1)
        scale = value.abs() + (slope * q).abs().sum(dim=1)
        near = (function(q) - plane).abs() <= _TOLERANCE * scale
        same = (jacobian(function, q) - slope).abs() <= _TOLERANCE * slope.abs()
        if not (near.all() and same.all()):
            return False
    return True


def _free_rows(system: Equations, parameters: Tensor) -> Tensor:
    """Return the rows of parameters (P, *batch) that are free."""
    free = [index for index, entry in enumerate(system.parameters) if entry.fixed is None]
    return parameters[free]


def _random_parameters(system: Equations, generator: torch.Generator) -> Tensor:
    rows = []
    for parameter in system.parameters:
        if parameter.fixed is not None:
            rows.append(torch.full((_PROBES,), parameter.fixed, dtype=torch.float64))
        elif parameter.range is not None:
            rows.append(_uniform(generator, *parameter.range))
    return torch.stack(rows)


def _random_states(system: Equations, generator: torch.Generator) -> Tensor:
    rows = []
    for state in system.states:
        initial = system.default_initial_state[state.name]
        low, high = bounds(state.support)
        middle = 0.5 * sum(initial) if isinstance(initial, tuple | list) else float(initial)
        width = max(abs(middle), 1.0)
        low = max(low, 0.1 * middle if low == 0.0 else middle - width)
        rows.append(_uniform(generator, low, min(high, middle + width)))
    return torch.stack(rows)


def _uniform(generator: torch.Generator, low: float, high: float) -> Tensor:
    unit = torch.rand(_PROBES, generator=generator, dtype=torch.float64)
    return low + (high - low) * unit
