"""Selection of the values, names and units of one trajectory from a data set, for plots."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from warp_phys.systems.errors import UnknownNameError, UsageError, unknown_name

Floats = NDArray[np.float64]

_MOST_LISTED = 20


def trajectory_labels(dataset: xr.Dataset) -> list[Any]:
    """Return the labels of all trajectories; their numbers where there are none."""
    if "trajectory" in dataset.coords:
        labels: list[Any] = dataset["trajectory"].values.tolist()
        return labels
    return list(range(dataset.sizes["trajectory"]))


def trajectory_position(dataset: xr.Dataset, trajectory: int | str) -> int:
    """Return the position of a trajectory given by its position (int) or its label (text).

    Raises:
        UnknownNameError: No trajectory has this label.
        UsageError: The position does not exist, or what came is neither.
    """
    labels = trajectory_labels(dataset)
    if isinstance(trajectory, str):
        return _labeled_position([str(label) for label in labels], trajectory)
    if isinstance(trajectory, bool) or not isinstance(trajectory, int | np.integer):
        raise UsageError(
            f"expected trajectory as a position (a whole number) or a label (text), "
            f"got {trajectory!r}"
        )
    if not -len(labels) <= trajectory < len(labels):
        raise UsageError(
            f"expected trajectory as a position from 0 to {len(labels) - 1}, got {trajectory}; "
            "give a label as text"
        )
    return int(trajectory) % len(labels)


def _labeled_position(texts: Sequence[str], wanted: str) -> int:
    if wanted in texts:
        return texts.index(wanted)
    if len(texts) <= _MOST_LISTED:
        raise unknown_name("trajectory", wanted, texts)
    close = " or ".join(map(repr, difflib.get_close_matches(wanted, texts, n=3)))
    raise UnknownNameError(
        f"unknown trajectory {wanted!r}; "
        + (f"did you mean {close}? " if close else "")
        + f"known: {len(texts)} of them, from {texts[0]} to {texts[-1]}"
    )


def position_of_label(dataset: xr.Dataset, label: Any) -> int:
    """Return the position of the trajectory with this label in another data set."""
    return _labeled_position([str(known) for known in trajectory_labels(dataset)], str(label))


def chosen_names(dim: str, dataset: xr.Dataset, wanted: str | Sequence[str] | None) -> list[str]:
    """Return the selected names along a dimension: one, several, or all for None.

    Raises:
        UnknownNameError: A name is not in the data set.
    """
    known = [str(name) for name in dataset[dim].values]
    if wanted is None:
        return known
    names = listed_names(dim, wanted)
    for name in names:
        if name not in known:
            raise unknown_name(dim, name, known)
    return names


def listed_names(dim: str, wanted: str | Sequence[str]) -> list[str]:
    """Return one or several names as a list, which must not be empty."""
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    if not names:
        raise UsageError(f"expected at least one {dim} to draw, got none")
    return names


def unit_of(dim: str, dataset: xr.Dataset, name: str) -> str:
    """Return the unit of a name along a dimension, or "" where none is stated."""
    key = f"{dim}_unit"
    if key not in dataset.coords:
        return ""
    known = [str(entry) for entry in dataset[dim].values]
    return str(dataset[key].values[known.index(name)])


def sample_times(dataset: xr.Dataset, position: int) -> Floats:
    """Return the sample times of one trajectory, (T,), NaN where its own grid is padded."""
    times = np.asarray(dataset["time"].values, dtype=np.float64)
    return times if times.ndim == 1 else times[position]


def series(dataset: xr.Dataset, variable: str, position: int, dim: str, name: str) -> Floats:
    """Return one trajectory's values over time, (T,), of one output or parameter."""
    known = [str(entry) for entry in dataset[dim].values]
    column = dataset[variable].isel({"trajectory": position, dim: known.index(name)})
    return np.asarray(column.values, dtype=np.float64)


def quantity_label(name: str, unit: str) -> str:
    """Return a name with its unit, as a label of an axis."""
    return name if unit in ("", "1") else f"{name} ({unit})"


def joint_label(pairs: Sequence[tuple[str, str]]) -> str:
    """Return several names with their units, the unit once where all share it."""
    units = {unit for _, unit in pairs}
    if len(units) == 1:
        return quantity_label(", ".join(name for name, _ in pairs), units.pop())
    return ", ".join(quantity_label(name, unit) for name, unit in pairs)


def time_label(dataset: xr.Dataset) -> str:
    """Return the label of the time axis."""
    return quantity_label("time", str(dataset["time"].attrs.get("units", "")))


def has_band(dataset: xr.Dataset, kind: str) -> bool:
    """Return whether a data set holds both ends of a band."""
    return f"{kind}_lower" in dataset and f"{kind}_upper" in dataset


def band_ends(
    dataset: xr.Dataset, kind: str, position: int, dim: str, name: str
) -> tuple[Floats, Floats]:
    """Return the lower and upper end of one trajectory's band over time, each (T,)."""
    return (
        series(dataset, f"{kind}_lower", position, dim, name),
        series(dataset, f"{kind}_upper", position, dim, name),
    )


def band_words(dataset: xr.Dataset) -> str:
    """Return the label of the bands of a data set, as in "90 % band"."""
    level = dataset.attrs.get("band_level")
    return "band" if level is None else f"{100 * float(level):g} % band"
