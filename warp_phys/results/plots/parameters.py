"""Plots of parameters in physical units: estimates over time, and fits of all trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from warp_phys.fitting.result.read import as_fit, is_fit
from warp_phys.results.estimated import free_parameters
from warp_phys.results.pick import (
    Floats,
    band_ends,
    band_words,
    chosen_names,
    has_band,
    listed_names,
    position_of_label,
    quantity_label,
    sample_times,
    series,
    time_label,
    trajectory_labels,
    trajectory_position,
    unit_of,
)
from warp_phys.results.plots.axes import (
    COLORS,
    add_key,
    cut_wide_bands,
    draw_band,
    draw_change,
    draw_line,
    given_axes,
    include,
    key_band,
    mark_whole_numbers,
    new_axes,
    refresh_legend,
)
from warp_phys.results.plots.fitted import draw_fitted, fitted_names
from warp_phys.results.remarks import note_of, remarks_of
from warp_phys.systems.errors import SchemaError, UsageError, unknown_name
from warp_phys.systems.schema.checks import check_dataset

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Truth = float | tuple[float, float]
"""A known value, or (value, standard deviation) of a published estimate."""


def plot_parameters(
    estimate_or_fit: xr.Dataset,
    *,
    trajectory: int | str = 0,
    parameters: str | Sequence[str] | None = None,
    truth: xr.Dataset | Mapping[str, Truth] | None = None,
    axes: Axes | Sequence[Axes] | NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Draw the estimated parameters of a trajectory over time, or the fitted ones of all.

    A dotted line marks the time from which on the model no longer describes the record
    (`changed_at` of an estimate). The bits of `estimate_status` at the last sample and of
    `out_of_range` are written above the legend. Where the bands of the first samples are many times
    as wide as all others, the axis cuts them.

    Args:
        estimate_or_fit: From `estimate`: parameters at every sample, with bands if it has any.
            From `fit`: one value with its confidence interval for each trajectory; values that
            the data do not determine are marked and have no interval.
        trajectory: For an estimate, its position as a number, or its label as text.
        parameters: One or several by name; None for all that were estimated or fitted. With the
            regression head, also the coordinates that a record determines where it does not
            determine parameters.
        truth: Values for comparison: a data set with `true_parameters`, read from the trajectory
            of the same label; or a mapping from name to value, or to (value, standard deviation).
        axes: The axes to draw on, one per parameter; None makes a new figure.

    Returns:
        The axes drawn on, (number of parameters,), each labeled with name and unit.

    Raises:
        UnknownNameError: The trajectory or a parameter does not exist.
        SchemaError: The data set is not from `estimate` or `fit`.
        MissingExtraError: matplotlib is not installed.
    """
    if is_fit(estimate_or_fit):
        return _plot_fit(as_fit(estimate_or_fit), parameters, truth, axes)
    estimate = estimate_or_fit
    check_dataset(estimate, ["parameters"])
    if estimate["parameters"].ndim != 3:
        raise SchemaError(
            "expected parameters at every sample, with dimensions (trajectory, time, parameter), "
            f"got ({', '.join(map(str, estimate['parameters'].dims))}); estimate(...) gives them, "
            "and fit(...) one for each trajectory"
        )
    position = trajectory_position(estimate, trajectory)
    names = _chosen(estimate, parameters)
    known = _known_values(truth, estimate, position)
    panels = new_axes(len(names)) if axes is None else given_axes(axes, len(names))
    times = sample_times(estimate, position)
    remarks = remarks_of(estimate, position)
    for ax, name in zip(panels, names, strict=True):
        determined = _draw_parameter(ax, estimate, position, name, times)
        if determined and name in known:
            _draw_truth(ax, known[name], "true" if isinstance(truth, xr.Dataset) else "reference")
        ax.set_xlabel(time_label(estimate))
        ax.set_ylabel(quantity_label(name, unit_of(_home(estimate, name)[1], estimate, name)))
        if determined and remarks.changed:
            draw_change(ax, remarks.changed_at)
        mark_whole_numbers(ax, times)
    refresh_legend(panels[0], columns=2, note=note_of(remarks))
    return np.array(panels, dtype=object)


def _plot_fit(
    fitted: xr.Dataset,
    parameters: str | Sequence[str] | None,
    truth: xr.Dataset | Mapping[str, Truth] | None,
    axes: Axes | Sequence[Axes] | NDArray[Any] | None,
) -> NDArray[Any]:
    """Draw the fitted parameters of all trajectories, one panel for each parameter."""
    names = fitted_names(fitted) if parameters is None else _chosen(fitted, parameters)
    labels = trajectory_labels(fitted)
    known = [_known_values(truth, fitted, position) for position in range(len(labels))]
    panels = new_axes(len(names)) if axes is None else given_axes(axes, len(names))
    for ax, name in zip(panels, names, strict=True):
        own = None
        if isinstance(truth, xr.Dataset):
            own = np.array([row.get(name, np.nan) for row in known], dtype=np.float64)
        draw_fitted(ax, fitted, name, own)
        if own is None and name in known[0]:
            _draw_truth(ax, known[0][name], "reference")
    explained: set[str] = set()
    for ax in panels:
        # A panel gets its own legend only if it shows something that no earlier panel shows.
        shown = set(ax.get_legend_handles_labels()[1])
        if shown - explained:
            refresh_legend(ax, columns=2)
        explained |= shown
    return np.array(panels, dtype=object)


def estimated_names(estimate: xr.Dataset) -> list[str]:
    """Return the estimated parameters, without those that were known beforehand.

    Where no record determines any parameter, the coordinates are returned instead.
    """
    if "coordinates" in estimate and not np.isfinite(estimate["parameters"].values).any():
        return [str(name) for name in estimate["coordinate"].values]
    return free_parameters(estimate)


def _chosen(estimate: xr.Dataset, wanted: str | Sequence[str] | None) -> list[str]:
    if wanted is None:
        return estimated_names(estimate)
    names = listed_names("parameter", wanted)
    known = chosen_names("parameter", estimate, None)
    if "coordinates" in estimate:
        known += [name for name in chosen_names("coordinate", estimate, None) if name not in known]
    for name in names:
        if name not in known:
            raise unknown_name("parameter", name, known)
    return names


def _home(estimate: xr.Dataset, name: str) -> tuple[str, str]:
    """Return the variable and the dimension that hold a parameter or a coordinate."""
    if name in estimate["parameter"].values:
        return "parameters", "parameter"
    return "coordinates", "coordinate"


def _draw_parameter(
    ax: Axes, estimate: xr.Dataset, position: int, name: str, times: Floats
) -> bool:
    """Draw one parameter and its band; return whether there is anything to draw."""
    variable, dim = _home(estimate, name)
    values = series(estimate, variable, position, dim, name)
    if not np.isfinite(values).any():
        ax.text(0.5, 0.5, "not determined by the data", transform=ax.transAxes, ha="center")
        ax.set(xticks=[], yticks=[])
        return False
    alone = not ax.has_data()
    if has_band(estimate, variable):
        ends = band_ends(estimate, variable, position, dim, name)
        if np.isfinite(ends).any():
            draw_band(ax, times, ends, 0)
            key_band(ax, band_words(estimate), COLORS[0])
            if alone:
                cut_wide_bands(ax, values, ends)
    draw_line(ax, times, values, 0)
    add_key(ax, "estimate", color=COLORS[0], linewidth=1.8)
    return True


def _draw_truth(ax: Axes, known: Truth, word: str) -> None:
    value, deviation = known if isinstance(known, tuple) else (known, 0.0)
    ax.axhline(value, color="black", linestyle="--", linewidth=1.2)
    include(ax, value - deviation, value + deviation)
    add_key(ax, word, color="black", linestyle="--", linewidth=1.2)
    if deviation > 0:
        ax.axhspan(value - deviation, value + deviation, color="black", alpha=0.12, linewidth=0)
        add_key(ax, f"{word} \N{PLUS-MINUS SIGN} 1 sd", color="black", alpha=0.12, linewidth=8.0)


def _known_values(
    truth: xr.Dataset | Mapping[str, Truth] | None, estimate: xr.Dataset, position: int
) -> dict[str, Truth]:
    if truth is None:
        return {}
    if isinstance(truth, xr.Dataset):
        check_dataset(truth, ["true_parameters"])
        place = position_of_label(truth, trajectory_labels(estimate)[position])
        row = truth["true_parameters"].isel(trajectory=place).values
        listed = [str(name) for name in truth["parameter"].values]
        return dict(zip(listed, map(float, row), strict=True))
    if truth:
        _chosen(estimate, list(truth))
    return {name: _checked_truth(name, value) for name, value in truth.items()}


def _checked_truth(name: str, value: Any) -> Truth:
    numbers = np.asarray(value, dtype=np.float64)
    if numbers.shape == ():
        return float(numbers)
    if numbers.shape == (2,) and numbers[1] >= 0:
        return float(numbers[0]), float(numbers[1])
    raise UsageError(
        f"expected the truth of {name!r} as a number or (value, standard deviation), got {value!r}"
    )
