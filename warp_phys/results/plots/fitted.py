"""Plot of the fitted parameters of all trajectories with their error bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from warp_phys.fitting.result.read import converged
from warp_phys.results.pick import Floats, band_words, quantity_label, trajectory_labels, unit_of
from warp_phys.results.plots.axes import COLORS, MARKERS, NEUTRAL, add_key, key_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The largest number of labels that fit below a panel.
_MOST_LABELS = 8
_BOTTOM = 0.03


def fitted_names(fitted: xr.Dataset) -> list[str]:
    """Return the parameters that were fitted, or all if every one was known."""
    names = [str(name) for name in fitted["parameter"].values]
    free = [name for name, known in zip(names, fitted["fixed"].values, strict=True) if not known]
    return free or names


def draw_fitted(ax: Axes, fitted: xr.Dataset, name: str, truth: Floats | None) -> None:
    """Draw one parameter of all trajectories: values, confidence intervals, true values.

    Values that the data do not determine cannot be drawn to scale and are marked at the bottom.

    Args:
        ax: The axes to draw on.
        fitted: What `fit` returned.
        name: The parameter.
        truth: (N,), NaN where unknown.
    """
    column = fitted.isel(parameter=fitted["parameter"].values.tolist().index(name))
    at_end = column["on_bound"].values == 1
    values = np.asarray(column["parameters"].values, dtype=np.float64)
    good = converged(fitted) & np.isfinite(values)
    determined = good & (column["identifiable"].values == 1) & ~at_end
    if int(column["fixed"]):
        _points(ax, values, good, "known", NEUTRAL, MARKERS[1])
    else:
        _bars(ax, column, values, determined, band_words(fitted).replace("band", "interval"))
        _points(ax, values, good & at_end, "at the end of its support", COLORS[1], MARKERS[2])
        _bottom(ax, good & ~determined & ~at_end, "not determined", "x")
    _bottom(ax, ~good, "not converged", "|")
    if truth is not None and np.isfinite(truth).any():
        style: dict[str, Any] = {
            "color": "black",
            "linestyle": "none",
            "marker": "_",
            "markersize": 12,
        }
        ax.plot(np.arange(len(truth)), truth, zorder=1.5, **style)
        add_key(ax, "true", **style)
    ax.set_xlabel("trajectory")
    ax.set_ylabel(quantity_label(name, unit_of("parameter", fitted, name)))
    _label_trajectories(ax, trajectory_labels(fitted))


def _bars(
    ax: Axes, column: xr.Dataset, values: Floats, chosen: NDArray[np.bool_], words: str
) -> None:
    """Draw values with their intervals; an open end is drawn at the value itself."""
    if not chosen.any():
        return
    place = np.flatnonzero(chosen)
    ends = (column[f"parameters_{end}"].values[chosen] for end in ("lower", "upper"))
    lower, upper = (np.where(np.isfinite(end), end, values[chosen]) for end in ends)
    ax.vlines(place, lower, upper, colors=COLORS[0], linewidth=1.4)
    _points(ax, values, chosen, "fit", COLORS[0], MARKERS[0])
    add_key(ax, words, color=COLORS[0], linewidth=1.4)


def _points(
    ax: Axes, values: Floats, chosen: NDArray[np.bool_], label: str, color: str, marker: str
) -> None:
    if chosen.any():
        place = np.flatnonzero(chosen)
        ax.plot(place, values[chosen], linestyle="none", marker=marker, color=color, markersize=4.5)
        key_points(ax, label, color, marker)


def _bottom(ax: Axes, chosen: NDArray[np.bool_], label: str, marker: str) -> None:
    if chosen.any():
        place = np.flatnonzero(chosen)
        ax.plot(
            place,
            np.full(len(place), _BOTTOM),
            linestyle="none",
            marker=marker,
            color=NEUTRAL,
            markersize=5.0,
            transform=ax.get_xaxis_transform(),
        )
        key_points(ax, label, NEUTRAL, marker)


def _label_trajectories(ax: Axes, labels: Sequence[object]) -> None:
    step = -(-len(labels) // _MOST_LABELS)
    places = list(range(0, len(labels), step))
    ax.set_xticks(places, [str(labels[place]) for place in places])
    ax.set_xlim(-0.5, len(labels) - 0.5)
