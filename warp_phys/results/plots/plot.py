"""Plot functions, which take data and, optionally, matplotlib axes, and return the axes.

matplotlib is imported when something is drawn; install it with `pip install "warp-phys[plot]"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from warp_phys.fitting.result.read import as_fit, is_fit
from warp_phys.results.estimated import is_estimate
from warp_phys.results.pick import (
    Floats,
    band_ends,
    band_words,
    chosen_names,
    has_band,
    joint_label,
    position_of_label,
    sample_times,
    series,
    time_label,
    trajectory_labels,
    trajectory_position,
    unit_of,
)
from warp_phys.results.plots.axes import (
    COLORS,
    MARKERS,
    NEUTRAL,
    add_key,
    draw_band,
    draw_change,
    draw_line,
    draw_points,
    given_or_new,
    key_band,
    key_points,
    mark_whole_numbers,
    refresh_legend,
)
from warp_phys.results.plots.parameters import plot_parameters
from warp_phys.results.remarks import note_of, remarks_of
from warp_phys.systems.errors import SchemaError
from warp_phys.systems.schema.checks import check_dataset

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_history", "plot_observed", "plot_parameters", "plot_predicted"]


def plot_observed(
    data: xr.Dataset,
    *,
    trajectory: int | str = 0,
    output: str | Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the observed values of a trajectory, and its noiseless curve where there is one.

    Args:
        data: From `simulate` or `read_trajectories`.
        trajectory: Its position as a number, or its label as text.
        output: One or several outputs by name; None for all.
        ax: The axes to draw on; None makes a new figure.

    Returns:
        The axes drawn on, labeled with names and units.

    Raises:
        UnknownNameError: The trajectory or an output does not exist.
        SchemaError: The data set does not follow the schema.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from warp_phys.data_gen import simulate
        >>> data = simulate("pendulum", n=3, times=np.linspace(0.0, 5.0, 51), noise=0.02, seed=0)
        >>> plot_observed(data, trajectory=2).get_xlabel()
        'time (s)'
    """
    check_dataset(data, ["observed"])
    names = chosen_names("output", data, output)
    position = trajectory_position(data, trajectory)
    ax = given_or_new(ax)
    times = sample_times(data, position)
    for index, name in enumerate(names):
        draw_points(ax, times, series(data, "observed", position, "output", name), index)
        if "noiseless" in data:
            curve = series(data, "noiseless", position, "output", name)
            draw_line(ax, times, curve, index, thin=True)
    color = COLORS[0] if len(names) == 1 else NEUTRAL
    _key_outputs(ax, names, points="noiseless" not in data)
    if "noiseless" in data:
        key_points(ax, "observed", color)
        add_key(ax, "without noise", color=color, linewidth=1.0)
    _finish_time_axes(ax, data, names, times)
    return ax


def plot_predicted(
    result: xr.Dataset,
    data: xr.Dataset | None = None,
    *,
    trajectory: int | str = 0,
    output: str | Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the predicted curve of a trajectory with its bands, and the observed values.

    The inner band is that of the output of the model, the outer one that of a noisy measurement.
    A dotted line marks the time from which on the model no longer describes the record of an
    estimate (`changed_at`). The bits of `estimate_status` at the last sample and of `out_of_range`
    are written above the legend.

    Args:
        result: From `estimate`, `fit` or `forecast`.
        data: Records whose observed values to draw, from the trajectory of the same label.
        trajectory: Its position as a number, or its label as text.
        output: One or several outputs by name; None for all.
        ax: The axes to draw on; None makes a new figure. A fit and then a forecast can be
            drawn on the same axes.

    Returns:
        The axes drawn on, labeled with names and units.

    Raises:
        UnknownNameError: The trajectory or an output does not exist.
        SchemaError: A data set does not follow the schema.
        MissingExtraError: matplotlib is not installed.
    """
    predicted = as_fit(result) if is_fit(result) else result
    check_dataset(predicted, ["predicted"])
    if data is not None:
        check_dataset(data, ["observed"])
    names = chosen_names("output", predicted, output)
    position = trajectory_position(predicted, trajectory)
    ax = given_or_new(ax)
    times = sample_times(predicted, position)
    color = COLORS[0] if len(names) == 1 else NEUTRAL
    _key_outputs(ax, names)
    all_times = [times]
    if data is not None:
        all_times.append(_draw_observed(ax, data, names, predicted, position, color))
    add_key(ax, "predicted", color=color, linewidth=1.8)
    for kind, words, outer in (
        ("observed", f"{band_words(predicted)} of a measurement", True),
        ("predicted", band_words(predicted), False),
    ):
        if not has_band(predicted, kind):
            continue
        for index, name in enumerate(names):
            ends = band_ends(predicted, kind, position, "output", name)
            draw_band(ax, times, ends, index, outer=outer)
        key_band(ax, words, color, outer=outer)
    for index, name in enumerate(names):
        draw_line(ax, times, series(predicted, "predicted", position, "output", name), index)
    note = ""
    if is_estimate(predicted):
        remarks = remarks_of(predicted, position)
        note = note_of(remarks)
        if remarks.changed:
            draw_change(ax, remarks.changed_at)
    _finish_time_axes(ax, predicted, names, np.concatenate(all_times), note)
    return ax


def plot_history(history: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the training and validation loss, and mark the step whose weights were kept.

    Args:
        history: From `train`.
        ax: The axes to draw on; None makes a new figure.

    Raises:
        SchemaError: The data set is not what `train` returns.
        MissingExtraError: matplotlib is not installed.
    """
    needed = ("training_loss", "validation_loss")
    if not isinstance(history, xr.Dataset) or any(name not in history for name in needed):
        raise SchemaError(
            f"expected a history with {' and '.join(needed)}, as train(...) returns it"
        )
    ax = given_or_new(ax)
    steps = np.asarray(history["step"].values, dtype=np.float64)
    for index, name in enumerate(needed):
        draw_line(ax, steps, np.asarray(history[name].values, dtype=np.float64), index)
        add_key(ax, name.removesuffix("_loss"), color=COLORS[index], linewidth=1.8)
    judged = history["validation_loss"].values
    if np.isfinite(judged).any():
        best = int(np.nanargmin(judged))
        ax.plot(steps[best], judged[best], MARKERS[1], color=COLORS[1], markersize=6)
        key_points(ax, f"kept: step {int(steps[best])}", COLORS[1], MARKERS[1])
    ax.set_xlabel("optimizer step")
    ax.set_ylabel("loss")
    refresh_legend(ax)
    return ax


def _draw_observed(
    ax: Axes,
    data: xr.Dataset,
    names: Sequence[str],
    predicted: xr.Dataset,
    position: int,
    color: str,
) -> Floats:
    """Draw the record of the same label; return its times."""
    place = position_of_label(data, trajectory_labels(predicted)[position])
    times = sample_times(data, place)
    measured = [str(name) for name in data["output"].values]
    for index, name in enumerate(names):
        if name in measured:
            draw_points(ax, times, series(data, "observed", place, "output", name), index)
            key_points(ax, "observed", color)
    return times


def _key_outputs(ax: Axes, names: Sequence[str], *, points: bool = False) -> None:
    """Label the outputs in the legend where there are several."""
    if len(names) == 1:
        return
    for index, name in enumerate(names):
        color = COLORS[index % len(COLORS)]
        if points:
            key_points(ax, name, color, MARKERS[index % len(MARKERS)])
        else:
            add_key(ax, name, color=color, linewidth=1.8)


def _finish_time_axes(
    ax: Axes, dataset: xr.Dataset, names: Sequence[str], times: Floats, note: str = ""
) -> None:
    ax.set_xlabel(time_label(dataset))
    ax.set_ylabel(joint_label([(name, unit_of("output", dataset, name)) for name in names]))
    mark_whole_numbers(ax, times)
    refresh_legend(ax, note=note)
