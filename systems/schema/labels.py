"""Labeled data: coordinates, variables and global attributes of a data set of the schema."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from warp_phys.systems.errors import SchemaError, unknown_name
from warp_phys.systems.schema.checks import check_dataset, check_times
from warp_phys.systems.schema.flags import Flags
from warp_phys.systems.schema.variables import (
    COORDINATES,
    NAMED_DIMENSIONS,
    QUANTITIES,
    SCHEMA_VERSION,
    Quantity,
    layouts,
)

if TYPE_CHECKING:
    from warp_phys.systems.model.system import System

__all__ = [
    "SCHEMA_VERSION",
    "Coordinates",
    "check_dataset",
    "check_times",
    "declared_coords",
    "dose_coords",
    "input_coords",
    "labeled",
    "named_coords",
    "output_coords",
    "parameter_coords",
    "plain",
    "software_versions",
    "stamp",
    "state_coords",
    "time_axis",
    "time_coords",
    "trajectory_coords",
]

Coordinates = dict[str, xr.Variable]

_LIBRARIES = ("numpy", "scipy", "torch", "xarray")
_LONGEST_LISTED = 64


def named_coords(dim: str, names: Sequence[str], units: Sequence[str]) -> Coordinates:
    """Return the coordinate `dim`, which holds names, and `<dim>_unit`, which holds their units."""
    return {
        dim: xr.Variable(dim, np.array(names, dtype=str), {"long_name": f"{dim} name"}),
        f"{dim}_unit": xr.Variable(
            dim, np.array(units, dtype=str), {"long_name": f"unit of the {dim}"}
        ),
    }


def parameter_coords(system: System) -> Coordinates:
    """Return names and units of the system's parameters, fixed ones included, in its order."""
    return named_coords(
        "parameter", [p.name for p in system.parameters], [p.unit for p in system.parameters]
    )


def state_coords(system: System) -> Coordinates:
    """Return names and units of the system's states, in its order."""
    return named_coords("state", [s.name for s in system.states], [s.unit for s in system.states])


def input_coords(system: System) -> Coordinates:
    """Return names and units of the system's inputs, in its order."""
    return named_coords("input", [i.name for i in system.inputs], [i.unit for i in system.inputs])


def dose_coords(system: System, states: Sequence[str]) -> Coordinates:
    """Return the state of each dose, `dose_state(dose)`, and its unit."""
    units = {state.name: state.unit for state in system.states}
    return declared_coords(
        dose_state=np.array(states, dtype=str),
        dose_unit=np.array([units[name] for name in states], dtype=str),
    )


def declared_coords(**values: ArrayLike) -> Coordinates:
    """Return coordinates that the schema declares, by name."""
    found = {}
    for name, entries in values.items():
        dim, long_name = COORDINATES[name]
        found[name] = xr.Variable(dim, entries, {"long_name": long_name})
    return found


def output_coords(system: System, names: Iterable[str] | None = None) -> Coordinates:
    """Return names and units of the system's outputs: all in its order, or those named.

    Raises:
        UnknownNameError: A name is not an output of the system.
    """
    units = {output.name: output.unit for output in system.outputs}
    chosen = list(units) if names is None else list(names)
    for name in chosen:
        if name not in units:
            raise unknown_name("output", name, list(units))
    return named_coords("output", chosen, [units[name] for name in chosen])


def trajectory_coords(labels: int | ArrayLike) -> Coordinates:
    """Return the coordinate `trajectory`: 0, 1, ... for a number, else the labels given."""
    values = np.arange(labels) if isinstance(labels, int) else np.asarray(labels)
    return declared_coords(trajectory=values)


def time_coords(system: System, times: ArrayLike) -> Coordinates:
    """Return the coordinate `time` in the system's unit: (T,) shared or (N, T) own grids."""
    return time_axis(times, system.time_unit)


def time_axis(times: ArrayLike, unit: str) -> Coordinates:
    """Return the coordinate `time` of dimension `time` (T,), or `trajectory, sample` (N, T)."""
    values = np.asarray(times, dtype=np.float64)
    dims = ("time",) if values.ndim == 1 else ("trajectory", "sample")
    attributes = {"long_name": "time", "standard_name": "time"} | ({"units": unit} if unit else {})
    return {"time": xr.Variable(dims, values, attributes)}


def labeled(
    values: Mapping[str, Any],
    coordinates: Mapping[str, xr.Variable],
    quantities: Mapping[str, Quantity] = QUANTITIES,
) -> xr.Dataset:
    """Return a data set of the schema from plain arrays.

    Args:
        values: Name -> array. Names of the schema get their dimensions, `long_name`, flags and
            `units` if there is a single unit; any other is given as an `xarray.Variable`.
        coordinates: The union of what the `*_coords` functions return.
        quantities: The declarations of the variables.

    Returns:
        The data set, its variables in the order given, without global attributes (see `stamp`).

    Raises:
        SchemaError: An array has no layout of the schema.
    """
    frame = xr.Dataset(coords=dict(coordinates))
    variables = {
        name: value
        if isinstance(value, xr.Variable)
        else _variable(name, np.asarray(value), frame, quantities)
        for name, value in values.items()
    }
    return frame.assign(variables)


def _variable(
    name: str, values: NDArray[Any], frame: xr.Dataset, quantities: Mapping[str, Quantity]
) -> xr.Variable:
    possible = layouts(name, own_grids="sample" in frame.dims)
    for dims in possible:
        if len(dims) == values.ndim:
            return xr.Variable(dims, values, _attributes(quantities[name], frame))
    raise SchemaError(f"expected {name!r} with dimensions {possible}, got shape {values.shape}")


def _attributes(quantity: Quantity, frame: xr.Dataset) -> dict[str, Any]:
    units = quantity.units
    if units == "time":
        units = frame["time"].attrs.get("units", "")
    elif units in NAMED_DIMENSIONS:
        every = set(frame[f"{units}_unit"].values.tolist())
        units = every.pop() if len(every) == 1 else ""
    attributes: dict[str, Any] = {"long_name": quantity.long_name}
    if units:
        attributes["units"] = units
    if quantity.flags is not None:
        attributes |= _flag_attributes(quantity.flags)
    if quantity.note:
        attributes["note"] = quantity.note
    return attributes


def _flag_attributes(flags: Flags) -> dict[str, Any]:
    """Return the CF attributes that name codes (`flag_values`) or bits (`flag_masks`)."""
    words = ["_".join(meaning.split()) for meaning in flags.meanings.values()]
    key = "flag_masks" if flags.bits else "flag_values"
    return {key: np.array(list(flags.meanings)), "flag_meanings": " ".join(words)}


def stamp(
    dataset: xr.Dataset,
    *,
    title: str,
    system: System | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    references: str = "",
    function: str = "",
    history: str = "",
    dated: bool = True,
) -> xr.Dataset:
    """Return the data set with the global attributes of the schema, all text or numbers.

    Args:
        dataset: The data set; its attribute `history`, if any, is continued.
        title: Its contents, in a few words.
        system: Its system; none for records read from a foreign file.
        settings: The arguments of the function, stored as JSON.
        seed: Seed of the random draws.
        rtol: Relative tolerance of the integration.
        atol: Absolute tolerance of the integration.
        references: Sources of the system or the data.
        function: Public name of the function that made the data set, for `history`.
        history: The history of the source data, which is continued.
        dated: Put the current time into `history`; without it, the same data give the same bytes.
    """
    if history:
        dataset = dataset.assign_attrs(history=history)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ ") if dated else ""
    steps = [f"{now}{function or title}", str(dataset.attrs.get("history", ""))]
    software = software_versions()
    attributes: dict[str, str | int | float] = {
        "Conventions": "CF-1.12",
        "title": title,
        "source": software["source"],
        "history": "\n".join(step for step in steps if step),
        "references": references,
        "schema_version": SCHEMA_VERSION,
        "system": "" if system is None else system.name,
        **{name: text for name, text in software.items() if name != "source"},
        "settings": json.dumps(plain(settings or {}), allow_nan=False),
    }
    numbers = {"seed": seed, "rtol": rtol, "atol": atol}
    given = {name: value for name, value in numbers.items() if value is not None}
    return dataset.assign_attrs(attributes | given)


def software_versions() -> dict[str, str]:
    """Return the versions of this package, Python and the libraries, by attribute name."""
    return {
        "source": f"warp-phys {_version('warp-phys')}",
        "python_version": platform.python_version(),
        **{f"{library}_version": _version(library) for library in _LIBRARIES},
    }


@lru_cache
def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def plain(value: Any) -> Any:
    """Return a value that JSON can store, without paths of this machine, addresses or NaN."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        if value.size > _LONGEST_LISTED:
            return f"array of shape {value.shape}"
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, PurePath):
        return value.name
    if hasattr(value, "ppf") and hasattr(value, "dist"):
        return {"distribution": value.dist.name, "args": plain(value.args)} | plain(value.kwds)
    return getattr(value, "__name__", type(value).__name__)
