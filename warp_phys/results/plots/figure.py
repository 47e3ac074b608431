"""One figure of a whole data set, whose contents decide what is drawn."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from warp_phys.fitting.result.read import as_fit, is_fit
from warp_phys.results.pick import chosen_names, has_band, unit_of
from warp_phys.results.plots.axes import add_panels, columns_for, require_matplotlib
from warp_phys.results.plots.fitted import fitted_names
from warp_phys.results.plots.parameters import estimated_names
from warp_phys.results.plots.plot import (
    plot_history,
    plot_observed,
    plot_parameters,
    plot_predicted,
)
from warp_phys.systems.errors import SchemaError, UsageError
from warp_phys.systems.schema.atomic import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_SUFFIXES = (".png", ".pdf", ".svg")

_DPI = 150


def figure_of(
    dataset: xr.Dataset, *, trajectory: int | str = 0, data: xr.Dataset | None = None
) -> Figure:
    """Return a figure of a history, an estimate, a fit, a forecast, or observed trajectories.

    For several fits, the parameters of all and the curve of one are drawn.

    Args:
        dataset: What `load` or `read_trajectories` returned.
        trajectory: Its position as a number, or its label as text.
        data: Records to draw with an estimate, fit or forecast; where they hold the true
            parameters, those are drawn too.

    Raises:
        SchemaError: The data set holds nothing that can be drawn.
        UsageError: `data` is given with a history or with records, which are drawn alone.
        MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    if data is not None and not {"predicted", "parameters"} & set(dataset.variables):
        raise UsageError(
            "expected data with an estimate, a fit or a forecast only: a training history and "
            "records are drawn alone; leave out data"
        )
    if "training_loss" in dataset:
        figure, axes = _figure(1, 0)
        plot_history(dataset, ax=axes[0])
        return figure
    if is_fit(dataset):
        dataset = as_fit(dataset)
    in_time = "parameters" in dataset and dataset["parameters"].ndim == 3
    if not in_time and "predicted" not in dataset and "observed" not in dataset:
        present = ", ".join(map(str, dataset.data_vars)) or "none"
        raise SchemaError(
            "expected a data set with 'observed', 'predicted', 'parameters' in time or "
            f"'training_loss' to draw, got the variables {present}"
        )
    groups = _output_groups(dataset)
    names = estimated_names(dataset) if in_time else []
    if is_fit(dataset) and dataset.sizes["trajectory"] > 1:
        names = fitted_names(dataset)
    figure, axes = _figure(len(groups), len(names))
    for ax, group in zip(axes[: len(groups)], groups, strict=True):
        if "predicted" in dataset:
            plot_predicted(dataset, data, trajectory=trajectory, output=group, ax=ax)
        else:
            plot_observed(dataset, trajectory=trajectory, output=group, ax=ax)
    if names:
        truth = data if data is not None and "true_parameters" in data else None
        plot_parameters(
            dataset,
            trajectory=trajectory,
            parameters=names,
            truth=truth,
            axes=axes[len(groups) :],
        )
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a figure atomically; the suffix of the name decides the format.

    Raises:
        OutputExistsError: The file exists and `overwrite` is off.
    """
    target = Path(path)
    content = io.BytesIO()
    figure.savefig(content, format=target.suffix.lower().lstrip("."), dpi=_DPI)
    write_atomic(content.getvalue(), target, overwrite=overwrite)


def _figure(wide: int, narrow: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns = columns_for(narrow) if narrow else 1
    height = 3.4 * wide + 2.4 * -(-narrow // columns)
    figure = Figure(figsize=(max(7.0, 3.6 * columns), height + 0.4), layout="constrained")
    return figure, add_panels(figure, wide, narrow)


def _output_groups(dataset: xr.Dataset) -> list[list[str]]:
    """Return groups of outputs that share axes: equal units, unless their bands would overlap."""
    if "predicted" not in dataset and "observed" not in dataset:
        return []
    names = chosen_names("output", dataset, None)
    if has_band(dataset, "predicted"):
        return [[name] for name in names]
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(unit_of("output", dataset, name), []).append(name)
    return list(groups.values())
