"""Tables of systems and of estimates, and warnings, as the command line prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
import xarray as xr

from warp_phys.results.pick import (
    Floats,
    band_ends,
    band_words,
    has_band,
    sample_times,
    series,
    trajectory_labels,
    unit_of,
)
from warp_phys.systems.catalog.registry import get_system, system_names
from warp_phys.systems.schema.flags import OUT_OF_RANGE

if TYPE_CHECKING:
    from warp_phys.systems.model.quantities import Parameter
    from warp_phys.systems.model.system import System

_MOST_SHOWN = 10


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def systems_table() -> str:
    """Return the systems of the catalog with their states and parameters, one per line."""
    rows = [("system", "states", "parameters")]
    for name in system_names():
        system = get_system(name)
        states = ", ".join(f"{state.name} ({state.unit})" for state in system.states)
        parameters = ", ".join(map(_parameter_words, system.parameters))
        rows.append((name, states, parameters))
    return aligned(rows)


def _parameter_words(parameter: Parameter) -> str:
    known = "" if parameter.fixed is None else f", {parameter.fixed:g} unless freed"
    return f"{parameter.name} ({parameter.unit}{known})"


def estimates_table(found: xr.Dataset, system: System) -> str:
    """Return each trajectory's parameters at its last sample, up to ten trajectories."""
    labels = trajectory_labels(found)
    parts = [
        _trajectory_table(found, system, position, label)
        for position, label in enumerate(labels[:_MOST_SHOWN])
    ]
    if len(labels) > _MOST_SHOWN:
        parts.append(f"... and {len(labels) - _MOST_SHOWN} more trajectories, not printed")
    return "\n\n".join(parts)


def warn_out_of_range(found: xr.Dataset) -> None:
    """Warn about records that differ from the training data, and say how they differ."""
    if "out_of_range" not in found:
        return
    labels = trajectory_labels(found)
    flags = found["out_of_range"].values.astype(np.int64)
    outside = np.flatnonzero(flags)
    for position in outside[:_MOST_SHOWN]:
        reasons = "; ".join(words for bit, words in OUT_OF_RANGE.items() if flags[position] & bit)
        warn(f"trajectory {labels[position]} is out of the model's range: {reasons}")
    if len(outside) > _MOST_SHOWN:
        warn(f"{len(outside) - _MOST_SHOWN} more trajectories are out of the model's range")


def warn_failed(data: xr.Dataset) -> None:
    """Warn about simulated trajectories whose integration failed, and say how it failed."""
    status = data["status"]
    codes = np.atleast_1d(status.attrs["flag_values"]).tolist()
    words = dict(zip(codes, status.attrs["flag_meanings"].split(), strict=True))
    kinds, counts = np.unique(status.values, return_counts=True)
    warn_counted(
        {words[kind]: count for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True)}
    )


def warn_counted(status: Mapping[str, int]) -> None:
    """Warn about failed trajectories, given the number of trajectories with each status."""
    failed = {word: count for word, count in status.items() if word != "converged"}
    if failed:
        listed = ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in failed.items())
        total, all_of_them = sum(failed.values()), sum(status.values())
        warn(f"{total} of {all_of_them} trajectories failed: {listed}")


def warn(text: str) -> None:
    """Print a warning to standard error, so that it does not mix with results."""
    typer.echo(f"warning: {text}", err=True)


def _trajectory_table(found: xr.Dataset, system: System, position: int, label: Any) -> str:
    times = sample_times(found, position)
    last = int(np.flatnonzero(np.isfinite(times))[-1])
    unit = "" if system.time_unit == "1" else f" {system.time_unit}"
    title = f"trajectory {label}: {last + 1} samples, the last at {times[last]:g}{unit}"
    rows = [("parameter", "estimate", band_words(found), "unit")]
    for name in system.parameter_names:
        values = series(found, "parameters", position, "parameter", name)
        band = "known" if name not in system.free_names else ""
        if not band and has_band(found, "parameters"):
            band = _band(band_ends(found, "parameters", position, "parameter", name), last)
        rows.append((name, f"{values[last]:.4g}", band, unit_of("parameter", found, name)))
    return f"{title}\n{aligned(rows)}"


def _band(ends: tuple[Floats, Floats], last: int) -> str:
    lower, upper = ends
    if not np.isfinite([lower[last], upper[last]]).all():
        return "not calibrated"
    return f"{lower[last]:.4g} to {upper[last]:.4g}"
