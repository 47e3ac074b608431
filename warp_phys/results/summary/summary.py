"""Text reports of fits, similar to those of lmfit, and of estimates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from warp_phys.fitting.result.read import as_fit, flags, noise_model
from warp_phys.results.estimated import as_estimate, is_estimate
from warp_phys.results.pick import (
    band_words,
    has_band,
    trajectory_labels,
    trajectory_position,
    unit_of,
)
from warp_phys.results.summary.estimate_overview import estimate_overview
from warp_phys.results.summary.estimate_report import (
    statistics_of,
    variables_at_last,
    warnings_about,
)
from warp_phys.results.summary.numbers import with_unit
from warp_phys.results.summary.overview import overview, posterior_words
from warp_phys.results.summary.variables import correlations, known_here, variables
from warp_phys.results.summary.warnings import warnings_of
from warp_phys.systems.noise.noise import Noise

_CORRELATED = 0.1
_USUAL = ("normal", "lognormal")  # whose levels say which of the two it is


def summary(estimate_or_fit: xr.Dataset, trajectory: int | str | None = None) -> str:
    """Return a text report of a fit or an estimate, in a form similar to that of lmfit.

    In a fit, only values that the data determine have an error. Values that they do not determine,
    that reached the end of their support or that were known are marked as such, and explained under
    `Warnings`. The report of an estimate holds the parameters at the last sample with their bands,
    the noise levels, and under `Warnings` the remarks: from which sample on the model no
    longer describes the record, and the meanings of the bits of `estimate_status` and
    `out_of_range`.

    Args:
        estimate_or_fit: What `estimate` or `fit` returned, or `load` read back.
        trajectory: Its position as a number, or its label as text. None gives the only one, or
            an overview of all of them: how the fits ended or which estimates have remarks,
            median and quartiles of each parameter.

    Returns:
        The text; print it.

    Raises:
        SchemaError: The data set is not what `estimate` or `fit` returned.
        UnknownNameError: No trajectory has this label.
        UsageError: There is no such position.

    Example:
        >>> import numpy as np
        >>> from warp_phys import WarpPhys, estimate, fit
        >>> from warp_phys.data_gen import simulate
        >>> data = simulate("pendulum", n=2, times=np.arange(0.0, 6.0, 0.1), noise=0.01, seed=0)
        >>> fitted = fit("pendulum", data)
        >>> print(summary(fitted, 0).splitlines()[0])
        [[Fit of pendulum, trajectory 0]]
        >>> print(summary(fitted).splitlines()[0])
        [[Fit of pendulum, 2 trajectories]]
        >>> print(summary(estimate(WarpPhys("pendulum"), data), 0).splitlines()[0])
        [[Estimate of pendulum, trajectory 0]]
    """
    if is_estimate(estimate_or_fit):
        return _of_estimate(as_estimate(estimate_or_fit), trajectory)
    fitted = as_fit(estimate_or_fit)
    if trajectory is None and fitted.sizes["trajectory"] > 1:
        return overview(fitted)
    position = trajectory_position(fitted, 0 if trajectory is None else trajectory)
    one = fitted.isel(trajectory=position)
    name, label = fitted.attrs["system"], trajectory_labels(fitted)[position]
    level = f"{100.0 * float(fitted.attrs['band_level']):g} %"
    notes = {
        "Variables": f" value +/- standard error (relative)  [{level} interval]",
        "Correlations": f" (unreported correlations are < {_CORRELATED:g})",
    }
    parts: list[tuple[str, list[str]]] = [
        (f"Fit of {name}, trajectory {label}", []),
        ("Fit statistics", _statistics(one)),
        ("Variables", variables(one)),
        ("Correlations", correlations(one, _CORRELATED)),
        ("Warnings", warnings_of(one)),
    ]
    return _joined(parts, notes)


def _of_estimate(estimate: xr.Dataset, trajectory: int | str | None) -> str:
    """Return the report of an estimate, with a dimension of trajectories."""
    if trajectory is None and estimate.sizes["trajectory"] > 1:
        return estimate_overview(estimate)
    position = trajectory_position(estimate, 0 if trajectory is None else trajectory)
    name, label = estimate.attrs["system"], trajectory_labels(estimate)[position]
    band = f"  [{band_words(estimate)}]" if has_band(estimate, "parameters") else ""
    parts: list[tuple[str, list[str]]] = [
        (f"Estimate of {name}, trajectory {label}", []),
        ("Record", _aligned(statistics_of(estimate, position))),
        ("Variables", variables_at_last(estimate, position)),
        ("Warnings", warnings_about(estimate, position)),
    ]
    return _joined(parts, {"Variables": f" value at the last sample{band}"})


def _joined(parts: Sequence[tuple[str, list[str]]], notes: Mapping[str, str]) -> str:
    """Return sections as text, those without lines left out."""
    return "\n".join(
        line
        for place, (title, lines) in enumerate(parts)
        if lines or not place
        for line in (f"[[{title}]]{notes.get(title, '')}", *(f"    {line}" for line in lines))
    )


def _statistics(one: xr.Dataset) -> list[str]:
    status = flags(one["status"])[int(one["status"])]
    rows: list[tuple[str, str]] = [("status", status)]
    if np.isnan(one["parameters"].values).any():
        return _aligned(rows)
    count, unknowns = int(one["value_count"]), one.sizes["estimated"] - len(known_here(one))
    freedom = float(one["degrees_of_freedom"])
    free = "infinite: noise known" if one.attrs["noise"] == "known" else "infinite"
    rows += [
        ("values", str(count)),
        ("unknowns", str(unknowns) + _levels(one)),
        ("degrees of freedom", free if math.isinf(freedom) else f"{freedom:g}"),
        ("iterations", str(int(one["iterations"]))),
        ("starts", _starts(one)),
        ("sum of squares", f"{float(one['sum_of_squares']):.6g}" + _scale(one)),
    ]
    rows += _noise(one)
    rows.append(("log likelihood", f"{float(one['log_likelihood']):.6g}"))
    if "log_prior" in one:
        rows += [("log prior", f"{float(one['log_prior']):.6g}"), ("optimum", posterior_words(one))]
    elif not one["estimated_shared"].values.any():
        rows += _criteria(one, count, unknowns)
    if "reduced_chi_square" in one:
        rows.append(("reduced chi-square", f"{float(one['reduced_chi_square']):.6g}"))
    return _aligned([row for row in rows if not row[1].startswith("nan")])


def _starts(one: xr.Dataset) -> str:
    tried, agreeing, optima = (int(one[name]) for name in ("starts", "starts_agreeing", "optima"))
    if tried == 1:
        return "1"
    return f"{tried}, {agreeing} agreeing, {optima} optim{'um' if optima == 1 else 'a'}"


def _noise(one: xr.Dataset) -> list[tuple[str, str]]:
    """Return the noise models, and the level on each output where the noise model has one.

    Levels that were fitted jointly are among the variables.
    """
    noise = noise_model(one)
    names = [str(name) for name in one["output"].values]
    models = [noise.of(place) for place in range(len(names))]
    if len({model.key for model in models}) > 1:
        rows = [
            (f"noise of {name}", _described(model))
            for name, model in zip(names, models, strict=True)
        ]
    else:
        rows = [] if models[0].name in _USUAL else [("noise", _described(models[0]))]
    if one.attrs["noise"] == "joint":
        return rows
    known = " (given)" if one.attrs["noise"] == "known" else ""
    return rows + [
        (
            f"noise {model.level_name} of {name}",
            with_unit(f"{value:.4g}", model.level_unit(unit_of("output", one, name)))
            + (f" ({model.level_note})" if model.level_note else "")
            + known,
        )
        for name, model, value in zip(names, models, one["noise_sd"].values.tolist(), strict=True)
        if model.level_name is not None
    ]


def _described(noise: Noise) -> str:
    """Return the name of a noise model and its known parameters."""
    known = {name: value for name, value in noise.settings.items() if value is not None}
    settings = ", ".join(f"{name} = {value}" for name, value in known.items())
    return noise.label + (f" ({settings})" if settings else "")


def _levels(one: xr.Dataset) -> str:
    """Return how many noise levels are unknown besides: the criteria count them."""
    count = _unknown_levels(one)
    return f" and {count} noise level{'s' if count > 1 else ''}" if count else ""


def _unknown_levels(one: xr.Dataset) -> int:
    return {"each": one.sizes["output"], "common": 1}.get(one.attrs["noise"], 0)


def _scale(one: xr.Dataset) -> str:
    note = noise_model(one).level_note
    return f" ({note})" if note else ""


def _criteria(one: xr.Dataset, count: int, unknowns: int) -> list[tuple[str, str]]:
    """Return the Akaike and Bayesian criteria; unknown noise levels count as unknowns."""
    levels = _unknown_levels(one)
    likelihood = float(one["log_likelihood"])
    return [
        ("Akaike criterion", f"{2.0 * (unknowns + levels) - 2.0 * likelihood:.6g}"),
        (
            "Bayesian criterion",
            f"{math.log(max(count, 1)) * (unknowns + levels) - 2.0 * likelihood:.6g}",
        ),
    ]


def _aligned(rows: Sequence[tuple[str, Any]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"{name.ljust(width)} = {text}" for name, text in rows]
