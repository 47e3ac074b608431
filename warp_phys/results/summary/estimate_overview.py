"""The overview of the estimates of many trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from warp_phys.results.estimated import at_last, free_parameters, last_samples
from warp_phys.results.pick import Floats, band_words, has_band, trajectory_labels, unit_of
from warp_phys.results.remarks import Remarks, all_remarks
from warp_phys.results.summary.estimate_report import noise_levels
from warp_phys.results.summary.numbers import with_unit
from warp_phys.results.summary.overview import listed

_LISTED = 5


def estimate_overview(estimate: xr.Dataset) -> str:
    """Return how many estimates have remarks and which, and the ranges of the parameters."""
    labels = trajectory_labels(estimate)
    remarks = all_remarks(estimate)
    rows = [*_samples(estimate), *_findings(estimate, remarks, labels)]
    width = max(len(name) for name, _ in rows)
    lines = [f"[[Estimate of {estimate.attrs['system']}, {len(labels)} trajectories]]"]
    lines += [f"    {name.ljust(width)} = {text}" for name, text in rows]
    table = _parameters(estimate)
    columns = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines.append("[[Parameters at the last samples]]")
    lines += [
        "    "
        + "  ".join(cell.ljust(size) for cell, size in zip(row, columns, strict=True)).rstrip()
        for row in table
    ]
    lines.append(f"[[One of them: summary(estimate, {str(labels[0])!r})]]")
    return "\n".join(lines)


def _samples(estimate: xr.Dataset) -> list[tuple[str, str]]:
    counts = last_samples(estimate) + 1
    low, high = int(counts.min()), int(counts.max())
    rows = [("samples", str(low) if low == high else f"{low} to {high}")]
    return rows + [
        (f"median {name}", text) for name, values, text in noise_levels(estimate) if values.size
    ]


def _findings(
    estimate: xr.Dataset, remarks: Sequence[Remarks], labels: list[Any]
) -> list[tuple[str, str]]:
    """Return how many trajectories have no remark, and each kind of remark."""
    count = sum(not entry for entry in remarks)
    rows = [("without remarks", f"{count} of {len(remarks)}")]
    changed = [
        (label, entry.changed_at)
        for label, entry in zip(labels, remarks, strict=True)
        if entry.changed
    ]
    if changed:
        rows.append(("no longer described", _changed(estimate, changed)))
    for kind, prefix in (("status", ""), ("out_of_range", "out of range: ")):
        found = {words: None for entry in remarks for words in getattr(entry, kind)}
        for words in found:
            has_it = np.array([words in getattr(entry, kind) for entry in remarks])
            rows.append((prefix + words, listed(has_it, labels)))
    return rows


def _changed(estimate: xr.Dataset, changed: Sequence[tuple[Any, float]]) -> str:
    unit = str(estimate["time"].attrs.get("units", ""))
    names = ", ".join(
        f"{label} from {with_unit(f'{time:g}', unit)} on" for label, time in changed[:_LISTED]
    )
    more = ", ..." if len(changed) > _LISTED else ""
    return f"{len(changed)} (trajector{'y' if len(changed) == 1 else 'ies'} {names}{more})"


def _parameters(estimate: xr.Dataset) -> list[tuple[str, ...]]:
    header = f"median half-width of the {band_words(estimate)}"
    rows: list[tuple[str, ...]] = [
        ("", "median", "quartiles", header if has_band(estimate, "parameters") else "")
    ]
    free = free_parameters(estimate)
    for variable, dim in (("parameters", "parameter"), ("coordinates", "coordinate")):
        if variable not in estimate:
            continue
        values = at_last(estimate, variable)
        half = np.full_like(values, np.nan)
        if has_band(estimate, variable):
            ends = [at_last(estimate, f"{variable}_{end}") for end in ("upper", "lower")]
            half = 0.5 * (ends[0] - ends[1])
        for place, name in enumerate(str(name) for name in estimate[dim].values):
            if dim == "parameter" or name not in estimate["parameter"].values:
                known = dim == "parameter" and name not in free
                unit = unit_of(dim, estimate, name)
                rows.append((f"{name}:", *_row(values[:, place], half[:, place], unit, known)))
    return rows


def _row(values: Floats, half: Floats, unit: str, known: bool) -> tuple[str, str, str]:
    """Return median, quartiles and median half-width of one parameter."""
    if not np.isfinite(values).any():
        return "(not determined)", "", ""
    low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75])
    quartiles = "(fixed)" if known and low == high else f"{low:.4g} to {high:.4g}"
    width = "" if known or not np.isfinite(half).any() else f"{np.nanmedian(half):.2g}"
    return with_unit(f"{middle:.4g}", unit), quartiles, width
