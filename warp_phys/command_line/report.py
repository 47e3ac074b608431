"""Tables of systems, estimates and priors, and warnings, as the command line prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
import xarray as xr

from warp_phys.results.estimated import free_parameters, last_sample
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
from warp_phys.results.remarks import all_remarks, changed_words
from warp_phys.results.summary.numbers import with_unit
from warp_phys.systems.catalog.registry import get_system, system_names

if TYPE_CHECKING:
    from warp_phys.systems.model.quantities import Parameter

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


def estimates_table(found: xr.Dataset) -> str:
    """Return each trajectory's parameters at its last sample, up to ten trajectories."""
    labels = trajectory_labels(found)
    free = free_parameters(found)
    parts = [
        _trajectory_table(found, free, position, label)
        for position, label in enumerate(labels[:_MOST_SHOWN])
    ]
    if len(labels) > _MOST_SHOWN:
        parts.append(f"... and {len(labels) - _MOST_SHOWN} more trajectories, not printed")
    return "\n\n".join(parts)


def prior_table(history: xr.Dataset) -> str:
    """Return the prior that the information head learned from a data set."""
    rows = [("prior of", "mean", "standard deviation")]
    for name in history["unknown"].values:
        one = history.sel(unknown=name)
        rows.append((str(name), f"{one['prior_mean'].item():.4g}", f"{one['prior_sd'].item():.4g}"))
    return f"{aligned(rows)}\n(in unconstrained coordinates: logarithms of what is positive)"


def warn_about(found: xr.Dataset) -> None:
    """Warn about the trajectories of an estimate that have remarks."""
    labels = trajectory_labels(found)
    texts = []
    for label, remarks in zip(labels, all_remarks(found), strict=True):
        findings = list(remarks.status)
        if remarks.changed:
            findings.insert(0, changed_words(found, remarks.changed_at))
        if findings:
            texts.append(f"trajectory {label}: {'; '.join(findings)}")
        if remarks.out_of_range:
            reasons = "; ".join(remarks.out_of_range)
            texts.append(f"trajectory {label} is out of the model's range: {reasons}")
    for text in texts[:_MOST_SHOWN]:
        warn(text)
    if len(texts) > _MOST_SHOWN:
        warn(f"... and {len(texts) - _MOST_SHOWN} more warnings, not printed")


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


def _trajectory_table(found: xr.Dataset, free: Sequence[str], position: int, label: Any) -> str:
    last = last_sample(found, position)
    unit = str(found["time"].attrs.get("units", ""))
    end = with_unit(f"{sample_times(found, position)[last]:g}", unit)
    title = f"trajectory {label}: {last + 1} samples, the last at {end}"
    rows = [("parameter", "estimate", band_words(found), "unit")]
    for name in (str(name) for name in found["parameter"].values):
        values = series(found, "parameters", position, "parameter", name)
        band = "known" if name not in free else ""
        if not band and has_band(found, "parameters"):
            band = _band(band_ends(found, "parameters", position, "parameter", name), last)
        rows.append((name, f"{values[last]:.4g}", band, unit_of("parameter", found, name)))
    return f"{title}\n{aligned(rows)}"


def _band(ends: tuple[Floats, Floats], last: int) -> str:
    lower, upper = ends
    if not np.isfinite([lower[last], upper[last]]).all():
        return "not calibrated"
    return f"{lower[last]:.4g} to {upper[last]:.4g}"
