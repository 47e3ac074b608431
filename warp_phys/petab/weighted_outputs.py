"""Outputs that hold the noise of a problem, for noise that `fit` cannot state otherwise.

See `weighted_noise.py`: each output is the residual over the noise level and the logarithm of the
level. The measurement, and noise parameters that differ from line to line, are inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from warp_phys.petab.expressions import Expression, Name, Number, Operation, quotient, replaced
from warp_phys.petab.observables import OutputFormulas, placeholder
from warp_phys.petab.outputs import Outputs, numbers_on_scale, on_scale
from warp_phys.petab.slots import Floats
from warp_phys.petab.tables import Value
from warp_phys.petab.trajectories import Layout
from warp_phys.systems.errors import UnsupportedError

# The first guess of a noise level over the standard deviation of an output's measurements.
_GUESS = 0.1


def weighted_outputs(formulas: Sequence[OutputFormulas], layout: Layout) -> Outputs:
    """Return the outputs that hold the noise.

    Raises:
        UnsupportedError: Noise is not normal, or a placeholder has numbers and parameters.
    """
    found = Outputs(weighted=True)
    for place, one in enumerate(formulas):
        observable, values = one.observable, layout.observed[..., place]
        if observable.distribution != "normal":
            raise UnsupportedError(
                f"the noise of {one.name} has a Laplace distribution, which fit does not know; use "
                "log_likelihood"
            )
        seen = np.isfinite(values)
        # Where nothing was measured the residual is not used; one has a logarithm.
        measured = f"measured {one.name}"
        found.inputs[measured] = np.where(seen, values, 1.0)
        noise = _with_values(one, place, layout, found)
        parts = (on_scale(observable, Name(measured)), on_scale(observable, one.formula))
        found.add(
            f"{one.name}_residual",
            quotient(Operation("minus", parts), noise),
            np.where(seen, 0.0, np.nan),
            description=f"measured less predicted {observable.name}, over the noise level",
        )
        found.add(
            f"{one.name}_log_noise",
            Operation("ln", (noise,)),
            np.where(seen, _guess(numbers_on_scale(observable, values[seen])), np.nan),
            description=f"natural logarithm of the noise level of {observable.name}",
        )
    return found


def _guess(values: Floats) -> float:
    """Return a first guess of the logarithm of a noise level; it is not zero."""
    spread = float(np.std(values)) or float(np.abs(values).max()) or 1.0
    guess = math.log(_GUESS * spread)
    return guess if guess != 0.0 else 1e-3


def _with_values(one: OutputFormulas, place: int, layout: Layout, found: Outputs) -> Expression:
    """Return the noise of an output with its placeholders replaced."""
    rows = np.flatnonzero(layout.cells[:, 2] == place)
    changes: dict[str, Expression] = {}
    for number in range(one.noise_placeholders):
        name = placeholder("noise", number + 1, one.name)
        values: list[Value] = [layout.noise_values[row][number] for row in rows]
        different = set(values)
        if len(different) == 1:
            value = values[0]
            is_name = isinstance(value, str)
            changes[name] = Name(f"parameter {value}") if is_name else Number(float(value))
            continue
        if any(isinstance(value, str) for value in different):
            raise UnsupportedError(
                f"the noise of {one.name} has numbers in some lines and parameters in others, "
                "which fit cannot state; use log_likelihood"
            )
        table = np.ones(layout.times.shape)
        table[layout.cells[rows, 0], layout.cells[rows, 1]] = values
        found.inputs[f"given {name}"] = table
        changes[name] = Name(f"given {name}")
    return replaced(one.noise, lambda inner: changes.get(inner, Name(inner)))
