"""The data set of a PEtab problem."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from warp_phys.petab.arguments import STEADY_START, group_labels
from warp_phys.petab.assemble import Assembled, transforms
from warp_phys.systems.schema.labels import (
    input_coords,
    labeled,
    output_coords,
    stamp,
    time_coords,
    trajectory_coords,
)


def problem_dataset(assembled: Assembled, file: str) -> xr.Dataset:
    """Return the measurements of a problem as a data set of the schema."""
    system, layout = assembled.system, assembled.layout
    coordinates = (
        trajectory_coords(np.array([one.label for one in layout.trajectories]))
        | time_coords(system, layout.times)
        | output_coords(system)
    )
    variables: dict[str, Any] = {"observed": _on_scale(assembled)}
    if assembled.inputs:
        coordinates |= input_coords(system)
        pairs = np.array(assembled.inputs)  # (I, 2, N)
        variables["input_table"] = pairs.transpose(2, 1, 0)
        knots = np.array([STEADY_START, 0.0])
        variables["input_time"] = np.tile(knots, (len(layout.trajectories), 1))
    for name, labels in group_labels(assembled).items():
        attributes = {"long_name": "parameter of the PEtab problem that the trajectory has"}
        coordinates[name] = xr.Variable("trajectory", labels, attributes)
    return stamp(
        labeled(variables, coordinates),
        title=f"Measurements of the PEtab problem {file}",
        system=system,
        function="warp_phys.read_petab",
        references=system.reference,
    )


def _on_scale(assembled: Assembled) -> np.ndarray:
    """Return the measurements, as logarithms where the outputs are logarithms."""
    observed = assembled.layout.observed.copy()
    if transforms(assembled.formulas):
        for place, one in enumerate(assembled.formulas):
            if one.observable.scale != "lin":
                logarithm = np.log if one.observable.scale == "log" else np.log10
                observed[..., place] = logarithm(observed[..., place])
    return observed


def log_density_constant(assembled: Assembled) -> float:
    r"""Return what to add to the log likelihood of a fit for that of the measurements.

    Where outputs are logarithms z(y), a fit has the density of z, and

        log p(y) = log p(z) + log z'(y),    z' = 1 / y or 1 / (y ln 10).

    It is zero where no output is a logarithm. Log-normal noise has the density of y itself.
    """
    if not transforms(assembled.formulas):
        return 0.0
    total = 0.0
    for place, one in enumerate(assembled.formulas):
        values = assembled.layout.observed[..., place]
        values = values[np.isfinite(values)]
        if one.observable.scale != "lin":
            base = 1.0 if one.observable.scale == "log" else math.log(10.0)
            total -= float(np.log(values * base).sum())
    return total
