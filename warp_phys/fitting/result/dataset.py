"""The result of a fit as a labeled data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from warp_phys.fitting.result.noise_values import (
    noise_parameter_coords,
    noise_parameter_settings,
)
from warp_phys.fitting.result.values import Fits
from warp_phys.likelihood.engines.choose import engine_name
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.unknown import Unknown
from warp_phys.records.records import result_coords
from warp_phys.systems.forcing.dataset import dose_variables
from warp_phys.systems.model.supports import bounds
from warp_phys.systems.schema.labels import (
    Coordinates,
    declared_coords,
    labeled,
    named_coords,
    stamp,
)
from warp_phys.systems.schema.variables import FITTED


def fit_dataset(
    problem: FitProblem, fits: Fits, *, level: float, settings: Mapping[str, Any]
) -> xr.Dataset:
    """Return the labeled result of a fit."""
    records, system = problem.records, problem.system
    variables = _found(fits) | _given(problem)
    coordinates = {
        **result_coords(system, records),
        **_estimated_coords(problem.unknowns.entries),
        **noise_parameter_coords(problem),
    }
    if records.doses is not None:
        # A forecast from the fit needs the doses, too.
        values, labels = dose_variables(system, records.doses)
        variables |= values
        coordinates |= labels
    if problem.unknowns.shared:
        variables["group"] = problem.group.numpy()
    if problem.unknowns.known is not None:
        variables["known"] = problem.unknowns.known.numpy().astype(np.int8)
    ended = {
        "status": fits.status.numpy(),
        "undetermined": np.array(fits.words, dtype=str),
        "outlier": np.array(fits.outliers, dtype=str),
        "failure": np.array(fits.failures, dtype=str),
    }
    dataset = labeled(variables | ended, coordinates, FITTED)
    noise = problem.distribution
    dataset["noise_sd"].attrs["long_name"] = f"{noise.level_words} of the noise"
    if noise.likelihood_note:
        dataset["log_likelihood"].attrs["note"] = noise.likelihood_note
    return stamp(
        dataset,
        title=f"fit of {system.name}",
        system=system,
        settings={**settings, **noise_parameter_settings(problem)},
        references=system.reference,
        function="fit",
        history=records.history,
        rtol=problem.rtol,
    ).assign_attrs(
        band_level=level,
        distribution=problem.distribution.name,
        noise=problem.noise if problem.own is None else "joint",
        engine=engine_name(problem),
        loss=problem.distribution.loss_name,
    )


def _found(fits: Fits) -> dict[str, Any]:
    """Return the variables that the fit estimated or measured."""
    arrays: dict[str, Any] = {name: value.numpy() for name, value in fits.values.items()}
    for name in ("profiled", "identifiable", "on_bound"):
        arrays[name] = arrays[name].astype(np.int8)
    return arrays


def _given(problem: FitProblem) -> dict[str, Any]:
    """Return the given variables: times of the initial states, and parameters known everywhere."""
    free = {(entry.kind, entry.name) for entry in problem.unknowns.entries}
    derived = problem.unknowns.derived
    free |= {("parameter", name) for name in (derived.ties.names if derived else ())}
    fixed = [("parameter", name) not in free for name in problem.system.parameter_names]
    return {"initial_time": problem.start.numpy(), "fixed": np.array(fixed, dtype=np.int8)}


def _estimated_coords(entries: Sequence[Unknown]) -> Coordinates:
    """Return coordinates of the unknowns: label, kind, bounds, and whether they are shared."""
    labels, units = [entry.label for entry in entries], [entry.unit for entry in entries]
    return named_coords("estimated", labels, units) | declared_coords(
        estimated_kind=np.array([entry.kind for entry in entries]),
        estimated_lower=np.array([bounds(entry.support)[0] for entry in entries]),
        estimated_upper=np.array([bounds(entry.support)[1] for entry in entries]),
        estimated_shared=np.array([np.int8(entry.shared) for entry in entries]),
    )
