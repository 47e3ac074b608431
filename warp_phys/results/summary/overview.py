"""The overview of the fits of many trajectories."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from warp_phys.fitting.result.read import converged, flags
from warp_phys.results.pick import trajectory_labels, unit_of
from warp_phys.results.summary.numbers import with_unit

_LISTED = 5


def overview(fitted: xr.Dataset) -> str:
    """Return the number of fits with each status, and the ranges of the parameters."""
    labels = trajectory_labels(fitted)
    rows = [*_endings(fitted, labels), *_findings(fitted, labels)]
    if "log_prior" in fitted:
        rows.append(("optimum", posterior_words(fitted)))
    width = max(len(name) for name, _ in rows)
    lines = [f"[[Fit of {fitted.attrs['system']}, {len(labels)} trajectories]]"]
    lines += [f"    {name.ljust(width)} = {text}" for name, text in rows]
    table = _parameters(fitted)
    columns = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines.append("[[Parameters of the fits that converged, where determined]]")
    lines += [
        "    "
        + "  ".join(cell.ljust(size) for cell, size in zip(row, columns, strict=True)).rstrip()
        for row in table
    ]
    first = str(labels[0])
    lines.append(f"[[One of them: summary(fit, {first!r}), in the shell --show {first}]]")
    return "\n".join(lines)


def posterior_words(fitted: xr.Dataset) -> str:
    """Say that a fit has priors, and of what."""
    priors = json.loads(fitted.attrs["settings"])["priors"]
    what = f"priors of {', '.join(priors)}" if isinstance(priors, dict) else "a joint prior"
    return f"maximum a posteriori ({what})"


def _endings(fitted: xr.Dataset, labels: list[Any]) -> list[tuple[str, str]]:
    status = fitted["status"].values
    rows = [("converged", f"{int((status == 0).sum())} of {status.size}")]
    for code, words in flags(fitted["status"]).items():
        if code and (status == code).any():
            rows.append((words, listed(status == code, labels)))
    return rows


def _findings(fitted: xr.Dataset, labels: list[Any]) -> list[tuple[str, str]]:
    """Return how many of the converged fits have each kind of warning."""
    good = converged(fitted)
    text = fitted["undetermined"].values.astype(str)
    marks = {
        "not determined": np.char.find(text, "determined") >= 0,
        "at the end of a support": np.char.find(text, "is at the end of its support") >= 0,
        "misfit": fitted["misfit"].values != 0,
        "several optima": fitted["optima"].values > 1,
    }
    return [
        (name, listed(mark & good, labels)) for name, mark in marks.items() if (mark & good).any()
    ]


def listed(chosen: NDArray[np.bool_], labels: list[Any]) -> str:
    """Return the number of chosen trajectories and the labels of the first."""
    places = np.flatnonzero(chosen).tolist()
    names = ", ".join(str(labels[place]) for place in places[:_LISTED])
    more = ", ..." if len(places) > _LISTED else ""
    return f"{len(places)} (trajector{'y' if len(places) == 1 else 'ies'} {names}{more})"


def _parameters(fitted: xr.Dataset) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("", "median", "quartiles", "median error", "determined in")]
    good = converged(fitted)
    for place, name in enumerate(str(name) for name in fitted["parameter"].values):
        column = fitted.isel(parameter=place)
        unit = unit_of("parameter", fitted, name)
        values = column["parameters"].values
        if int(column["fixed"]):
            known = np.unique(values[np.isfinite(values)])
            text = with_unit(f"{np.median(known):.4g}", unit) if known.size else ""
            rows.append((f"{name}:", text, "(fixed)", "", ""))
            continue
        determined = good & (column["identifiable"].values == 1) & (column["on_bound"].values == 0)
        count = f"{int(determined.sum())} of {int(good.sum())}"
        if not determined.any():
            rows.append((f"{name}:", "", "(not determined)" if good.any() else "(none)", "", count))
            continue
        low, middle, high = np.quantile(values[determined], [0.25, 0.5, 0.75])
        errors = column["standard_errors"].values[determined]
        error = np.median(errors[np.isfinite(errors)]) if np.isfinite(errors).any() else np.nan
        rows.append(
            (
                f"{name}:",
                with_unit(f"{middle:.4g}", unit),
                f"{low:.4g} to {high:.4g}",
                f"{error:.2g}" if np.isfinite(error) else "unknown",
                count,
            )
        )
    return rows
