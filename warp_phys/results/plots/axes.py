"""Helpers that create axes, draw on them and add legends, in colors for color-blind readers."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from warp_phys.results.pick import Floats
from warp_phys.systems.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# M. Okabe and K. Ito, Color Universal Design (2008), without its pale yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
NEUTRAL = "#4D4D4D"

_GRID = "#D9D9D9"
_BAND_ALPHA = 0.28
_OUTER_BAND_ALPHA = 0.12
# Bands that may be cut: their share, and how many times as wide the axis would be with them.
_FEW, _MANY_TIMES, _MARGIN = 0.1, 2.0, 0.08


def require_matplotlib() -> None:
    """Raise MissingExtraError where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError(
            'plots need matplotlib, which is not installed: pip install "warp-phys[plot]"'
        )


def given_or_new(ax: Axes | None) -> Axes:
    """Return the axes given, or one on a new figure of pyplot's."""
    return new_axes(1)[0] if ax is None else given_axes(ax, 1)[0]


def given_axes(axes: Any, count: int) -> list[Axes]:
    """Return as many matplotlib axes as needed: those in a list or array, or a lone one.

    Raises:
        UsageError: They are too few or too many, or something else.
    """
    require_matplotlib()
    from matplotlib.axes import Axes

    flat = list(np.asarray(axes, dtype=object).ravel())
    if len(flat) != count:
        raise UsageError(f"expected {count} axes, one for each panel, got {len(flat)}")
    for ax in flat:
        if not isinstance(ax, Axes):
            raise UsageError(f"expected matplotlib Axes, got {type(ax).__name__}")
    return flat


def columns_for(count: int) -> int:
    """Return the number of columns for a number of panels."""
    return 2 if count == 4 else min(count, 3)


def new_axes(count: int) -> list[Axes]:
    """Return axes on a new figure of pyplot's, in rows."""
    require_matplotlib()
    from matplotlib import pyplot

    columns = columns_for(count)
    rows = -(-count // columns)
    width, height = (6.4, 4.0) if count == 1 else (3.7 * columns, 2.5 * rows)
    figure = pyplot.figure(figsize=(width, height), layout="constrained")
    return add_panels(figure, 0, count)


def add_panels(figure: Figure, wide: int, narrow: int) -> list[Axes]:
    """Return axes on a figure: some over its whole width, then others in columns."""
    columns = columns_for(narrow) if narrow else 1
    rows = wide + -(-narrow // columns)
    grid = figure.add_gridspec(rows, columns)
    axes = [figure.add_subplot(grid[row, :]) for row in range(wide)]
    axes += [
        figure.add_subplot(grid[wide + index // columns, index % columns])
        for index in range(narrow)
    ]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color=_GRID, linewidth=0.6)
        ax.set_axisbelow(True)
    return axes


def draw_points(ax: Axes, times: Floats, values: Floats, index: int) -> None:
    """Draw the observed values, without missing ones."""
    ax.plot(
        times,
        values,
        linestyle="none",
        marker=MARKERS[index % len(MARKERS)],
        markersize=4.5,
        markerfacecolor=COLORS[index % len(COLORS)],
        markeredgecolor="white",
        markeredgewidth=0.5,
        zorder=3,
    )


def draw_line(ax: Axes, times: Floats, values: Floats, index: int, *, thin: bool = False) -> None:
    """Draw a curve; a single value is drawn as a dash."""
    lone = np.isfinite(values).sum() == 1
    ax.plot(
        times,
        values,
        color=COLORS[index % len(COLORS)],
        linewidth=1.0 if thin else 1.8,
        marker="_" if lone else "",
        markersize=10,
    )


def draw_band(
    ax: Axes, times: Floats, ends: tuple[Floats, Floats], index: int, *, outer: bool = False
) -> None:
    """Draw a band between its lower and upper ends; a single one is drawn as a bar."""
    lower, upper = ends
    known = np.isfinite(times) & np.isfinite(lower) & np.isfinite(upper)
    color = COLORS[index % len(COLORS)]
    alpha = _OUTER_BAND_ALPHA if outer else _BAND_ALPHA
    if known.sum() == 1:
        ax.vlines(
            times[known], lower[known], upper[known], colors=color, alpha=alpha, linewidth=8.0
        )
    elif known.any():
        ax.fill_between(times, lower, upper, where=known, color=color, alpha=alpha, linewidth=0)


def cut_wide_bands(ax: Axes, values: Floats, ends: tuple[Floats, Floats]) -> None:
    """Limit the axis where a few bands are many times as wide as all others: the first ones.

    The axis then holds all values and nine tenths of the ends of the bands.
    """
    lower, upper = np.nanquantile(ends[0], _FEW), np.nanquantile(ends[1], 1.0 - _FEW)
    low, high = min(lower, np.nanmin(values)), max(upper, np.nanmax(values))
    whole = np.nanmax(ends[1]) - np.nanmin(ends[0])
    if high > low and whole > _MANY_TIMES * (high - low):
        margin = _MARGIN * (high - low)
        ax.set_ylim(low - margin, high + margin)


def include(ax: Axes, low: float, high: float) -> None:
    """Widen an axis that `cut_wide_bands` limited so that it holds these values."""
    if not ax.get_autoscaley_on():
        bottom, top = ax.get_ylim()
        ax.set_ylim(min(bottom, low), max(top, high))


def draw_change(ax: Axes, time: float) -> None:
    """Mark the time from which on the model no longer describes a record."""
    style: dict[str, Any] = {"color": NEUTRAL, "linestyle": ":", "linewidth": 1.4}
    ax.axvline(time, **style)
    add_key(ax, "no longer described", **style)


def key_band(ax: Axes, label: str, color: str, *, outer: bool = False) -> None:
    """Add a band to the legend."""
    alpha = _OUTER_BAND_ALPHA if outer else _BAND_ALPHA
    add_key(ax, label, color=color, alpha=alpha, linewidth=8.0)


def key_points(ax: Axes, label: str, color: str, marker: str = "o") -> None:
    """Add points to the legend."""
    add_key(ax, label, color=color, linestyle="none", marker=marker, markersize=4.5)


def add_key(ax: Axes, label: str, **style: Any) -> None:
    """Add an entry to the legend, unless it is there already."""
    if label not in ax.get_legend_handles_labels()[1]:
        ax.plot([], [], label=label, **style)


def refresh_legend(ax: Axes, *, columns: int = 2, note: str = "") -> None:
    """Draw the legend above the axes, where it hides nothing, in rows of equal length.

    Args:
        ax: The axes.
        columns: The largest number of entries in a row.
        note: Text above the entries; by default what stood there before.
    """
    before = ax.get_legend()
    if before is not None and not note:
        note = before.get_title().get_text()
    count = len(ax.get_legend_handles_labels()[1])
    if count:
        ax.legend(
            title=note or None,
            title_fontsize="small",
            alignment="left",
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            borderaxespad=0.3,
            ncols=-(-count // -(-count // columns)),
            frameon=False,
            fontsize="small",
        )


def mark_whole_numbers(ax: Axes, times: Floats) -> None:
    """Put ticks of time on whole numbers where all times are whole: years, days, counts."""
    known = times[np.isfinite(times)]
    if known.size > 1 and np.ptp(known) >= 3 and (known == np.round(known)).all():
        from matplotlib.ticker import MaxNLocator

        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
