"""The result of a fit as a labelled data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from warp_phys.fitting.result.values import STATUS_MEANINGS, Fits
from warp_phys.likelihood.engines.choose import engine_name
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.residual_checks import MISFIT
from warp_phys.likelihood.unknowns import Unknown
from warp_phys.systems.model.supports import bounds
from warp_phys.systems.schema.labels import (
    Coordinates,
    dose_coords,
    labelled,
    named_coords,
    output_coords,
    parameter_coords,
    stamp,
    state_coords,
    status_attributes,
    time_coords,
    trajectory_coords,
)
from warp_phys.systems.schema.variables import QUANTITIES


def _estimated_coords(entries: Sequence[Unknown]) -> dict[str, xr.Variable]:
    """Return what each unknown is, where it may be, and whether trajectories share it."""
    columns = {
        "kind": ([entry.kind for entry in entries], "what the unknown is"),
        "lower": ([bounds(entry.support)[0] for entry in entries], "lower end of its support"),
        "upper": ([bounds(entry.support)[1] for entry in entries], "upper end of its support"),
        "shared": (
            [np.int8(entry.shared) for entry in entries],
            "whether the trajectories of a group have it in common",
        ),
    }
    return {
        f"estimated_{name}": xr.Variable("estimated", np.array(values), {"long_name": words})
        for name, (values, words) in columns.items()
    }


def fit_dataset(
    problem: FitProblem,
    fits: Fits,
    data: xr.Dataset,
    *,
    level: float,
    settings: Mapping[str, Any],
) -> xr.Dataset:
    """Return the labelled result of a fit."""
    records, system, entries = problem.records, problem.system, problem.unknowns.entries
    times = records.times if records.own_grids else records.times[0]
    arrays: dict[str, Any] = {name: value.numpy() for name, value in fits.values.items()}
    for name in ("profiled", "identifiable", "on_bound"):
        arrays[name] = arrays[name].astype(np.int8)
    free = {(entry.kind, entry.name) for entry in entries}
    arrays["initial_time"] = problem.start.numpy()
    arrays["fixed"] = np.array(
        [("parameter", name) not in free for name in system.parameter_names], dtype=np.int8
    )
    given: Coordinates = {}
    if records.doses is not None:
        # A forecast from the fit goes on with them.
        arrays["dose_amount"] = records.doses.amounts.numpy()
        arrays["dose_time"] = xr.Variable(
            ("trajectory", "dose"),
            records.doses.times.numpy(),
            {"long_name": QUANTITIES["dose_time"].long_name, "units": system.time_unit},
        )
        given = dose_coords(system, records.doses.states)
    if any(entry.shared for entry in entries):
        arrays["group"] = problem.group.numpy()
    arrays["status"] = xr.Variable(
        "trajectory",
        fits.status.numpy(),
        {"long_name": "how the fit ended", "units": "1", **status_attributes(STATUS_MEANINGS)},
    )
    arrays["misfit"] = xr.Variable(
        "trajectory",
        arrays["misfit"],
        {
            "long_name": "how the residuals differ from noise",
            "units": "1",
            "flag_masks": np.array(list(MISFIT)),
            "flag_meanings": " ".join(text.replace(" ", "_") for text in MISFIT.values()),
        },
    )
    arrays["undetermined"] = xr.Variable(
        "trajectory",
        np.array(fits.words, dtype=str),
        {"long_name": "what the data do not determine"},
    )
    labels, units = problem.unknowns.labels, [entry.unit for entry in entries]
    dataset = labelled(
        arrays,
        {
            **trajectory_coords(np.array(records.labels)),
            **time_coords(system, times.numpy()),
            **parameter_coords(system),
            **state_coords(system),
            **output_coords(system, records.outputs),
            **named_coords("estimated", labels, units),
            **_estimated_coords(entries),
            **given,
        },
    )
    dataset["covariance"].attrs["note"] = "estimated_ repeats estimated"
    if problem.distribution.likelihood_note:
        dataset["log_likelihood"].attrs["note"] = problem.distribution.likelihood_note
    history = {"history": data.attrs["history"]} if "history" in data.attrs else {}
    return stamp(
        dataset.assign_attrs(history),
        title=f"fit of {system.name}",
        system=system,
        settings=settings,
        references=system.reference,
        function="fit",
        rtol=problem.rtol,
    ).assign_attrs(
        band_level=level,
        distribution=problem.distribution.name,
        noise=problem.noise,
        engine=engine_name(problem),
        loss=problem.distribution.loss_name,
    )
