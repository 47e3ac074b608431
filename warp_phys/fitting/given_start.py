"""Starting values from the caller: an estimate, an earlier fit, numbers or arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.likelihood.groups import same_in_group
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.starting_points import middle_start
from warp_phys.likelihood.stating.known_values import per_trajectory
from warp_phys.systems.errors import SchemaError, UsageError, unknown_name


def given_start(problem: FitProblem, initial: Any) -> Tensor:
    """Return the coordinates (N, D) of the given start; other unknowns start at their default.

    Parameters of the noise that are not given are NaN.
    """
    z = torch.where(problem.unknowns.noisy, torch.nan, middle_start(problem))
    if isinstance(initial, xr.Dataset):
        values = _from_dataset(problem, initial)
    elif isinstance(initial, xr.DataArray):
        values = _from_table(problem, initial)
    elif isinstance(initial, Mapping):
        values = _from_mapping(problem, initial)
    else:
        raise UsageError(
            "expected initial as a Dataset from estimate or fit, a DataArray (trajectory, "
            f"parameter), a mapping from name to number or array, or None; got "
            f"{type(initial).__name__}"
        )
    for place, entry in enumerate(problem.unknowns.entries):
        value = values.get((entry.kind, entry.name))
        if value is not None:
            # An estimate may be NaN for a parameter that its data do not determine.
            usable = value.isfinite()
            found = entry.coordinate(torch.where(usable, value, 1.0))
            z[:, place] = torch.where(usable, found, z[:, place])
    return same_in_group(problem, z)


def _from_dataset(problem: FitProblem, initial: xr.Dataset) -> dict[tuple[str, str], Tensor]:
    if "parameters" not in initial:
        raise SchemaError(
            "expected initial to hold 'parameters', as estimate(...) and fit(...) return it; got "
            f"the variables {', '.join(map(str, initial.data_vars)) or 'none'}"
        )
    values = {}
    for variable, dim, kind in (
        ("parameters", "parameter", "parameter"),
        ("initial_state", "state", "initial_state"),
        ("noise_parameters", "noise_parameter", "noise"),
    ):
        if variable not in initial:
            continue
        if kind == "initial_state" and initial.attrs.get("state_at") == "sample":
            continue  # where parameters drift, states are those at each sample
        table = _matched(problem, initial[variable])
        array = np.asarray(table.values, dtype=np.float64)
        if array.ndim == 3:
            array = _last(array)
        for place, name in enumerate(table[dim].values.tolist()):
            values[kind, str(name)] = torch.as_tensor(array[:, place].copy())
    return values


def _last(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the last finite row (N, Q) of values in time (N, T, Q)."""
    finite = np.isfinite(values).all(axis=2)
    last = values.shape[1] - 1 - finite[:, ::-1].argmax(axis=1)
    rows: np.ndarray[Any, Any] = values[np.arange(len(values)), last]
    return rows


def _from_table(problem: FitProblem, initial: xr.DataArray) -> dict[tuple[str, str], Tensor]:
    if set(initial.dims) != {"trajectory", "parameter"} or "parameter" not in initial.coords:
        raise UsageError(
            "expected initial as a DataArray (trajectory, parameter) with the parameters' names "
            f"as coordinate, got dimensions {tuple(map(str, initial.dims))}"
        )
    table = _matched(problem, initial.transpose("trajectory", "parameter"))
    names = [str(name) for name in table["parameter"].values]
    _check_names(problem, names)
    values = np.asarray(table.values, dtype=np.float64)
    return {
        ("parameter", name): torch.as_tensor(values[:, place].copy())
        for place, name in enumerate(names)
    }


def _from_mapping(problem: FitProblem, initial: Mapping[str, Any]) -> dict[tuple[str, str], Tensor]:
    _check_names(problem, list(initial))
    kinds = dict.fromkeys(problem.system.state_names, "initial_state")
    kinds |= dict.fromkeys(_noise_names(problem), "noise")
    return {
        (kinds.get(name, "parameter"), name): per_trajectory(
            f"initial[{name!r}]", value, problem.records
        )
        for name, value in initial.items()
    }


def _noise_names(problem: FitProblem) -> list[str]:
    return [entry.name for entry in problem.unknowns.entries if entry.kind == "noise"]


def _check_names(problem: FitProblem, names: list[str]) -> None:
    known = (
        *problem.system.parameter_names,
        *problem.system.state_names,
        *_noise_names(problem),
    )
    for name in names:
        if name not in known:
            raise unknown_name(f"parameter or state of {problem.system.name}", name, known)


def _matched(problem: FitProblem, table: xr.DataArray) -> xr.DataArray:
    """Return the rows of the problem's trajectories, by label where both have labels."""
    labels = list(problem.records.labels)
    if "trajectory" not in table.dims:
        table = table.expand_dims("trajectory")
    known = table["trajectory"].values.tolist() if "trajectory" in table.coords else None
    if known is None or known == labels:
        if table.sizes["trajectory"] != len(labels):
            raise UsageError(
                f"expected initial with {len(labels)} trajectories like the data, got "
                f"{table.sizes['trajectory']}"
            )
        return table
    places = {label: place for place, label in enumerate(known)}
    for label in labels:
        if label not in places:
            raise unknown_name("trajectory in initial", label, map(str, known[:10]))
    return table.isel(trajectory=[places[label] for label in labels])
