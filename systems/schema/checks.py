"""Checks sample times and data sets against the schema."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from warp_phys.systems.errors import SchemaError, UsageError, unknown_name
from warp_phys.systems.schema.variables import NAMED_DIMENSIONS, QUANTITIES, layouts

if TYPE_CHECKING:
    from warp_phys.systems.model.system import System


def check_times(
    times: ArrayLike, *, name: str = "times", labels: Sequence[Any] = (), repeats: bool = False
) -> None:
    """Check that sample times are finite and increase.

    Args:
        times: (T,), or (N, T) with NaN as padding at the end.
        name: Name of the times in the message.
        labels: The labels of the trajectories for the message; their numbers if empty.
        repeats: Whether several samples may have the same time.

    Raises:
        UsageError: They are empty, not numbers, or do not increase.
    """
    values = np.asarray(times)
    if values.dtype.kind not in "iuf":
        raise UsageError(
            f"expected {name} as numbers, got dtype {values.dtype}; "
            "convert dates to numbers, for instance days since the first sample"
        )
    if values.ndim not in (1, 2) or values.size == 0:
        raise UsageError(
            f"expected {name} of shape (T,) or (N, T), not empty, got shape {values.shape}"
        )
    own_grids = values.ndim == 2
    rows = np.atleast_2d(values.astype(np.float64))
    finite = np.isfinite(rows)
    padding = np.logical_and.accumulate(np.isnan(rows)[:, ::-1], axis=1)[:, ::-1]
    padding[:, 0] = False
    usable = finite | padding if own_grids else finite
    if not usable.all():
        row, column = np.argwhere(~usable)[0]
        raise UsageError(
            f"expected {name}{_of_trajectory(row, labels, own_grids)} to be finite, got "
            f"{rows[row, column]} at sample {column}"
            + ("; NaN may only pad the end" if own_grids else "")
        )
    steps = np.diff(rows, axis=1)
    stalled = steps < 0 if repeats else steps <= 0
    if stalled.any():
        row, column = np.argwhere(stalled)[0]
        before, after = rows[row, column : column + 2]
        raise UsageError(
            f"expected {name}{_of_trajectory(row, labels, own_grids)} to increase, got "
            f"{before:.10g} then {after:.10g} at samples {column} and {column + 1}; "
            "sort the samples by time and drop duplicates"
        )


def _of_trajectory(row: int, labels: Sequence[Any], own_grids: bool) -> str:
    return f" of trajectory {labels[row] if len(labels) else row}" if own_grids else ""


def check_dataset(
    dataset: xr.Dataset,
    needs: Iterable[str] = ("observed",),
    *,
    system: System | None = None,
) -> None:
    """Check that a data set has the schema's dimensions, names and times.

    Attributes are not required, so that a data set assembled by hand is valid, too.

    Args:
        dataset: The data set.
        needs: Variables that must be there.
        system: If given, outputs, states, parameters and inputs must be those of this system.

    Raises:
        SchemaError: Something is missing, empty, of the wrong type or on the wrong axis.
        UsageError: The times decrease.
        UnknownNameError: An output, state, parameter or input is not the system's.
    """
    if not isinstance(dataset, xr.Dataset):
        raise SchemaError(
            f"expected an xarray.Dataset, got {type(dataset).__name__}; simulate(...), load(...) "
            "and read_trajectories(...) return one"
        )
    for name in needs:
        if name not in dataset.data_vars:
            present = [str(key) for key in dataset.data_vars]
            raise SchemaError(
                f"expected a data set with the variable {name!r}, "
                f"got {', '.join(present) or 'none'}{_did_you_mean(name, present)}"
            )
    empty = [str(dim) for dim, size in dataset.sizes.items() if size == 0]
    if empty:
        raise SchemaError(f"the data set is empty: no entries along {', '.join(empty)}")
    for key in dataset.data_vars:
        if key in QUANTITIES:
            _check_variable(dataset, str(key))
    _check_names(dataset, system)
    if "time" in dataset.coords:
        labels = dataset["trajectory"].values.tolist() if "trajectory" in dataset.coords else ()
        times = dataset["time"].transpose("trajectory", ..., missing_dims="ignore")
        # Several measurements at one time are several samples.
        check_times(times.values, name="time", labels=labels, repeats=True)


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; rename {close[0]!r}" if close else ""


def _check_variable(dataset: xr.Dataset, name: str) -> None:
    variable = dataset[name]
    possible = layouts(name, own_grids="sample" in variable.dims)
    expected = next((dims for dims in possible if len(dims) == variable.ndim), possible[0])
    if variable.dims not in possible:
        text = (
            f"expected {name!r} with dimensions {_listed(expected)}, got {_listed(variable.dims)}"
        )
        if sorted(map(str, variable.dims)) == sorted(expected):
            order = ", ".join(repr(dim) for dim in expected)
            text += f": time on the wrong axis; use dataset.transpose({order}, ...)"
        raise SchemaError(text)
    if variable.dtype.kind not in "iufb" and not QUANTITIES[name].text:
        raise SchemaError(
            f"expected {name!r} as real numbers, got dtype {variable.dtype}; "
            "convert it, for instance with astype(float)"
        )
    if {"time", "sample"} & set(variable.dims) and "time" not in dataset.coords:
        raise SchemaError(f"expected a coordinate 'time' for {name!r}; assign the sample times")


def _listed(dims: Iterable[Hashable]) -> str:
    return f"({', '.join(map(str, dims))})"


def _check_names(dataset: xr.Dataset, system: System | None) -> None:
    for dim in NAMED_DIMENSIONS:
        if dim not in dataset.dims:
            continue
        if dim not in dataset.coords:
            raise SchemaError(f"expected a coordinate {dim!r} with the name of each {dim}")
        names = dataset[dim].values.tolist()
        if len(set(names)) < len(names):
            raise SchemaError(f"expected each {dim} once, got {', '.join(map(str, names))}")
        if system is None:
            continue
        known = [item.name for item in getattr(system, f"{dim}s")]
        for name in names:
            if name not in known:
                raise unknown_name(dim, str(name), known)
