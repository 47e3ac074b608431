"""The data set of a PEtab problem."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from warp_phys.petab.arguments import group_labels
from warp_phys.petab.assemble import STEADY_START, Assembled
from warp_phys.petab.outputs import transforms
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
    variables: dict[str, Any] = {"observed": np.stack(assembled.outputs.observed, axis=2)}
    if system.inputs:
        coordinates |= input_coords(system)
        variables["input_time"], variables["input_table"] = _input_table(assembled)
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


def _input_table(assembled: Assembled) -> tuple[np.ndarray, np.ndarray]:
    """Return times (N, K) and values (N, K, I) of the inputs.

    Inputs that conditions set change at time zero; those that outputs need at the samples.
    """
    times, samples = assembled.layout.times, list(assembled.outputs.inputs.values())
    rows = []
    for row, grid in enumerate(times):
        own = grid[np.isfinite(grid)]
        knots = np.unique([STEADY_START, 0.0, *(own if samples else ())])
        phase = (knots >= 0.0).astype(int)
        columns = [np.array(pair)[phase, row] for pair in assembled.inputs]
        # A sample's values hold from its time on; before the first one they do not matter.
        place = np.maximum(np.searchsorted(own, knots, side="right") - 1, 0)
        columns += [values[row, place] for values in samples]
        rows.append((knots, np.stack(columns, axis=1)))
    length = max(len(knots) for knots, _ in rows)
    table_times = np.full((len(rows), length), np.nan)
    table = np.full((len(rows), length, rows[0][1].shape[1]), np.nan)
    for row, (knots, values) in enumerate(rows):
        table_times[row, : len(knots)], table[row, : len(knots)] = knots, values
    return table_times, table


def log_density_constant(assembled: Assembled) -> float:
    r"""Return what to add to the log likelihood of a fit for that of the measurements.

    Where outputs are logarithms z(y), a fit has the density of z, and

        log p(y) = log p(z) + log z'(y),    z' = 1 / y or 1 / (y ln 10).

    It is zero where neither outputs nor their residuals are logarithms. Log-normal noise has the
    density of y itself.
    """
    if not transforms(assembled.formulas) and not assembled.outputs.weighted:
        return 0.0
    total = 0.0
    for place, one in enumerate(assembled.formulas):
        values = assembled.layout.observed[..., place]
        values = values[np.isfinite(values)]
        if one.observable.scale != "lin":
            base = 1.0 if one.observable.scale == "log" else math.log(10.0)
            total -= float(np.log(values * base).sum())
    return total
