"""The report of one trajectory of an estimate: the record, its last sample, warnings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from warp_phys.fitting.result.read import noise_model
from warp_phys.results.estimated import at_last, free_parameters, last_sample
from warp_phys.results.pick import Floats, band_ends, has_band, sample_times, series, unit_of
from warp_phys.results.remarks import Remarks, changed_words, remarks_of
from warp_phys.results.summary.numbers import rounded, with_unit


def statistics_of(estimate: xr.Dataset, position: int) -> list[tuple[str, str]]:
    """Return names and texts of what is known about a record as a whole."""
    times = sample_times(estimate, position)
    last = last_sample(estimate, position)
    unit = str(estimate["time"].attrs.get("units", ""))
    rows = [("samples", f"{last + 1}, the last at {with_unit(f'{times[last]:g}', unit)}")]
    one = estimate.isel(trajectory=[position])
    return rows + [(name, text) for name, values, text in noise_levels(one) if values.size]


def noise_levels(estimate: xr.Dataset) -> Iterator[tuple[str, Floats, str]]:
    """Yield name, finite values at last samples and text of their median for each output."""
    if "noise_sd" not in estimate:
        return
    noise = noise_model(estimate)
    note = f" ({noise.level_note})" if noise.level_note else ""
    for name, column in zip(
        map(str, estimate["output"].values), at_last(estimate, "noise_sd").T, strict=True
    ):
        values = column[np.isfinite(column)]
        unit = noise.level_unit(unit_of("output", estimate, name))
        text = with_unit(f"{np.median(values):.4g}", unit) + note if values.size else ""
        yield f"noise {noise.level_name} of {name}", values, text


def variables_at_last(estimate: xr.Dataset, position: int) -> list[str]:
    """Return a line for each parameter and state of a trajectory at its last sample."""
    free = free_parameters(estimate)
    rows = [
        (name, _numbers(estimate, "parameters", position, "parameter", name))
        if name in free
        else (name, _known(estimate, position, name))
        for name in (str(name) for name in estimate["parameter"].values)
    ]
    if "initial_state" in estimate:
        mark = "" if estimate.attrs.get("state_at") == "sample" else "(0)"
        rows += [
            (f"{name}{mark}", _numbers(estimate, "initial_state", position, "state", name))
            for name in (str(name) for name in estimate["state"].values)
        ]
    if "coordinates" in estimate:
        rows += [
            (name, _numbers(estimate, "coordinates", position, "coordinate", name))
            for name in (str(name) for name in estimate["coordinate"].values)
            if name not in estimate["parameter"].values
        ]
    width = max(len(name) for name, _ in rows) + 1
    return [f"{name + ':':{width}}  {text}" for name, text in rows]


def warnings_about(estimate: xr.Dataset, position: int) -> list[str]:
    """Return a sentence for each remark about a trajectory."""
    return remark_lines(estimate, remarks_of(estimate, position))


def remark_lines(estimate: xr.Dataset, remarks: Remarks) -> list[str]:
    """Return remarks about a trajectory as lines."""
    lines = [changed_words(estimate, remarks.changed_at)] if remarks.changed else []
    return [*lines, *remarks.status, *(f"out of range: {words}" for words in remarks.out_of_range)]


def _known(estimate: xr.Dataset, position: int, name: str) -> str:
    """Return the value of a parameter that was known beforehand."""
    value = series(estimate, "parameters", position, "parameter", name)[0]
    return with_unit(f"{value:.4g}", unit_of("parameter", estimate, name)) + " (fixed)"


def _numbers(estimate: xr.Dataset, variable: str, position: int, dim: str, name: str) -> str:
    """Return the value of a quantity at the last sample, with its unit and band."""
    last = last_sample(estimate, position)
    value = series(estimate, variable, position, dim, name)[last]
    unit = unit_of(dim, estimate, name)
    if np.isnan(value):
        return "(not determined)"
    if not has_band(estimate, variable):
        return with_unit(f"{value:.4g}", unit)
    lower, upper = (ends[last] for ends in band_ends(estimate, variable, position, dim, name))
    half = 0.5 * (upper - lower)
    if not np.isfinite(half):
        return with_unit(f"{value:.4g}", unit) + " (band not calibrated)"
    if half == 0.0:
        return with_unit(f"{value:.4g}", unit) + " (fixed)"
    low, high = (rounded(end, half) for end in (lower, upper))
    return f"{with_unit(rounded(value, half), unit)}  [{low}, {high}]"
