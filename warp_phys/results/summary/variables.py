"""The lines of the report on the variables of a fit and their correlations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from warp_phys.fitting.result.read import flags
from warp_phys.results.pick import unit_of
from warp_phys.results.summary.numbers import percent, rounded, with_unit


@dataclass(frozen=True)
class _Variable:
    """One parameter or initial state of a trajectory, with the remarks about it."""

    label: str
    unit: str
    value: float
    error: float
    ends: tuple[float, float]
    marks: tuple[str, ...]


def variables(one: xr.Dataset) -> list[str]:
    """Return a line for each unknown of one trajectory of a fit, also those of the noise."""
    found = [*_parameters(one), *_states(one), *_noise(one)]
    width = max(len(variable.label) for variable in found) + 1
    return [f"{variable.label + ':':{width}}  {_numbers(variable)}" for variable in found]


def correlations(one: xr.Dataset, least: float) -> list[str]:
    """Return a line for each correlation above `least`, the largest first."""
    covariance = one["covariance"].values
    deviation = np.sqrt(np.clip(np.diagonal(covariance), 0.0, None))
    if int(one["status"]) != 0:
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        table = covariance / np.outer(deviation, deviation)
    names = [str(name) for name in one["estimated"].values]
    pairs = [
        (f"C({names[row]}, {names[column]})", float(table[row, column]))
        for row, column in zip(*np.triu_indices(len(names), 1), strict=True)
        if abs(table[row, column]) >= least
    ]
    pairs.sort(key=lambda pair: -abs(pair[1]))
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"{name:{width}} = {value:+.4f}" for name, value in pairs]


def _numbers(variable: _Variable) -> str:
    marks = "".join(f" ({mark})" for mark in variable.marks)
    if math.isnan(variable.value):
        return marks.lstrip()
    if not math.isfinite(variable.error):
        return with_unit(f"{variable.value:.4g}", variable.unit) + marks
    value, error = (rounded(number, variable.error) for number in (variable.value, variable.error))
    size = f" ({percent(variable.error / variable.value)})" if variable.value else ""
    text = with_unit(f"{value} +/- {error}", variable.unit)
    if not all(map(math.isfinite, variable.ends)) and "tied" in variable.marks:
        return f"{text}{size}{marks}"
    low, high = (rounded(end, variable.error, dropped=1) for end in variable.ends)
    return f"{text}{size}  [{low}, {high}]{marks}"


def _parameters(one: xr.Dataset) -> Iterator[_Variable]:
    names = [str(name) for name in one["parameter"].values]
    for place, name in enumerate(names):
        row = one.isel(parameter=place)
        marks: list[str] = []
        if int(row["fixed"]) or name in known_here(one):
            marks.append("fixed")
        elif int(row["on_bound"]):
            marks.append("at the end of its support")
        elif int(row["status"]) == 0 and not int(row["identifiable"]):
            marks.append("not determined")
        yield _variable(
            one,
            name,
            unit_of("parameter", one, name),
            [float(row[key]) for key in _columns("parameters", "standard_errors")],
            marks,
            profiled=bool(row["profiled"]),
        )


def _states(one: xr.Dataset) -> Iterator[_Variable]:
    estimated = [str(name) for name in one["estimated"].values]
    words = str(one["undetermined"].item()).split("; ")
    names = [str(name) for name in one["state"].values]
    for place, name in enumerate(names):
        row = one.isel(state=place)
        label = f"{name}(0)"
        numbers = [
            float(row[key]) for key in _columns("initial_state", "initial_state_standard_errors")
        ]
        marks: list[str] = []
        if label in known_here(one):
            marks.append("fixed")
        elif label not in estimated:
            # A known state has an error of exactly zero.
            marks.append("fixed" if numbers[1] == 0.0 else "follows from the parameters")
        elif f"{label} is at the end of its support" in words:
            marks.append("at the end of its support")
        elif (
            int(one["status"]) == 0
            and math.isnan(numbers[1])
            and float(one["degrees_of_freedom"]) > 0.0
        ):
            marks.append("not determined")
        yield _variable(one, label, unit_of("state", one, name), numbers, marks)


def _noise(one: xr.Dataset) -> Iterator[_Variable]:
    if "noise_parameter" not in one.dims:
        return
    words = str(one["undetermined"].item()).split("; ")
    for place, name in enumerate(str(name) for name in one["noise_parameter"].values):
        row = one.isel(noise_parameter=place)
        columns = _columns("noise_parameters", "noise_parameters_standard_errors")
        numbers = [float(row[key]) for key in columns]
        marks: list[str] = []
        if f"{name} is at the end of its support" in words:
            marks.append("at the end of its support")
        elif int(one["status"]) == 0 and math.isnan(numbers[1]):
            marks.append("not determined")
        yield _variable(one, name, unit_of("noise_parameter", one, name), numbers, marks)


def known_here(one: xr.Dataset) -> set[str]:
    """Return the labels of unknowns whose values were known in this trajectory."""
    if "known" not in one:
        return set()
    return set(one["estimated"].values[one["known"].values == 1].tolist())


def _columns(prefix: str, errors: str) -> tuple[str, ...]:
    return prefix, errors, f"{prefix}_lower", f"{prefix}_upper"


def _variable(
    one: xr.Dataset,
    label: str,
    unit: str,
    numbers: list[float],
    marks: list[str],
    *,
    profiled: bool = False,
) -> _Variable:
    value, error, low, high = numbers
    if math.isnan(value):
        marks = ["not fitted"]
    elif not marks:
        if int(one["status"]) != 0:
            # Without convergence the end is no optimum, and its curvature does not measure errors.
            evaluated = flags(one["status"])[int(one["status"])] == "evaluated"
            marks, error = ["start" if evaluated else "not converged"], math.nan
        elif math.isnan(error):
            marks = ["no degrees of freedom for an error"]
        elif profiled:
            marks = ["from the profile likelihood"]
    else:
        error = math.nan
    if label in known_here(one):
        return _Variable(label, unit, value, error, (low, high), tuple(marks))
    if not marks and label not in one["estimated"].values:
        marks = ["tied"]
    if label in one["estimated"].values[one["estimated_shared"].values.astype(bool)]:
        marks = [*marks, "shared"]
    return _Variable(label, unit, value, error, (low, high), tuple(marks))
