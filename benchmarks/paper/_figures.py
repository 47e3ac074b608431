"""How states move: physical parameters as the context grows, and WARP's weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import warp_phys as wp
from benchmarks.paper._alterations import noisy
from benchmarks.paper._cells import Extent
from benchmarks.paper._models import Budget
from benchmarks.paper._physics_rows import WarpPhys
from benchmarks.paper._tasks import Task, make_task, true_combinations
from benchmarks.paper._warp_rows import Warp
from warp_phys.systems.schema.labels import stamp

_NOISE = 0.05
_RATE = 2e-3
# Records drawn as curves, and from which the principal components are.
_DRAWN, _RECORDS = 3, 200
_MARKED = (10, 30, 100)
_WORDS = {"k_over_m": "k/m (1/s²)", "c_over_m": "c/m (1/s)"}
_UNITS = {"k_over_m": "1/s2", "c_over_m": "1/s"}
_KINDS = {
    "": "estimate",
    "_lower": "lower end of the 90 % band",
    "_upper": "upper end of the 90 % band",
}


def write_figures(extent: Extent, folder: Path) -> None:
    """Train a model of each kind on MSD-Zero and draw how its states move.

    Writes the numbers to `states.nc`, and `parameters.svg` and `weights.svg`; nothing where those
    are there already.
    """
    settings = {"noise": _NOISE, "learning_rate": _RATE} | asdict(extent)
    path = folder / "states.nc"
    if path.exists() and json.loads(wp.load(path).attrs["settings"]) == _plain(settings):
        return
    torch.set_num_threads(1)
    budget = Budget(extent.steps, extent.batch_size, _RATE, extent.seeds[0])
    noisy_task = make_task("msd_zero", extent.records, alter=noisy(_NOISE))
    parameters = _parameters(noisy_task, budget)
    weights = _weights(make_task("msd_zero", extent.records), budget)
    found = stamp(
        xr.merge([parameters, weights]),
        title="states of WARP-Phys and of WARP as the context grows, MSD-Zero",
        settings=_plain(settings),
        seed=budget.seed,
        function="benchmarks.paper",
        dated=False,
    )
    with rc_context({"svg.hashsalt": "warp-phys", "svg.fonttype": "none"}):
        for name, figure in (("parameters", _bands(found)), ("weights", _components(found))):
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    # Last, for it says that the figures are there.
    wp.save(found, folder / "states.nc", overwrite=True)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as a file gives them back."""
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def _parameters(task: Task, budget: Budget) -> xr.Dataset:
    """Return k/m and c/m of the direct head with bands at every sample, and their truth."""
    row = WarpPhys("direct", window=int(task.train.context.max()))
    row.fit(task, budget)
    split = task.test.first(_DRAWN)
    found = row.estimate(task, split)
    mass = found["parameters"].sel(parameter="m").values
    variables = {}
    for name, truth in true_combinations(task, split).items():
        unit = {"units": _UNITS[name]}
        for kind, words in _KINDS.items():
            values = found[f"parameters{kind}"].sel(parameter=name[0]).values / mass
            about = {"long_name": f"{words} of {name.replace('_over_', '/')}"} | unit
            variables[f"{name}{kind}"] = xr.Variable(("record", "time"), values, about)
        about = {"long_name": f"true {name.replace('_over_', '/')}"} | unit
        variables[f"{name}_true"] = xr.Variable("record", truth, about)
    return xr.Dataset(variables, coords={"time": found["time"]})


def _weights(task: Task, budget: Budget) -> xr.Dataset:
    """Return the first two principal components of WARP's weights at every sample."""
    row = Warp(frequencies=16)
    row.fit(task, budget)
    split = task.test.first(_RECORDS)
    read = int(split.context.max())
    theta = torch.from_numpy(row.weights(split)[:, :read])
    centered = theta - theta[:, -1].mean(dim=0)
    _, values, directions = torch.linalg.svd(centered[:, -1], full_matrices=False)
    scores = (centered @ directions[:2].T).numpy()
    share = (values[:2] ** 2 / (values**2).sum()).numpy()
    truth = true_combinations(task, split)["k_over_m"]

    def variable(dims: Any, values: Any, words: str, unit: str = "1") -> xr.Variable:
        return xr.Variable(dims, values, {"long_name": words, "units": unit})

    return xr.Dataset(
        {
            "weights_score": variable(
                ("weights_record", "time", "component"),
                scores,
                "principal component of the weights, of their spread at the last sample",
            ),
            "weights_share": variable("component", share, "share of that spread's variance"),
            "weights_k_over_m": variable("weights_record", truth, "true k/m", _UNITS["k_over_m"]),
        }
    )


def _bands(found: xr.Dataset) -> Figure:
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots(len(_WORDS), found.sizes["record"], sharex=True, squeeze=False)
    for line, (name, words) in zip(axes, _WORDS.items(), strict=True):
        line[0].set_ylabel(words)
        for record, ax in enumerate(line):
            _band(ax, found.isel(record=record), name)
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    axes[0, 0].legend(loc="upper right", fontsize="small")
    return figure


def _band(ax: Axes, one: xr.Dataset, name: str) -> None:
    time, truth = one["time"].values, float(one[f"{name}_true"])
    ax.fill_between(time, one[f"{name}_lower"], one[f"{name}_upper"], alpha=0.25, label="90 % band")
    ax.plot(time, one[name], label="estimate")
    ax.axhline(truth, color="black", linestyle="--", linewidth=1.0, label="truth")
    ax.set_ylim(0.0, 2.5 * truth)


def _components(found: xr.Dataset) -> Figure:
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    places = [min(place, found.sizes["time"]) - 1 for place in _MARKED]
    axes = figure.subplots(1, len(places), sharex=True, sharey=True)
    for ax, place in zip(axes, places, strict=True):
        at = found["weights_score"].isel(time=place).values
        points = ax.scatter(*at.T, c=found["weights_k_over_m"], s=12)
        ax.set_title(f"after {place + 1} samples")
        ax.set_xlabel(f"component 1 ({100 * float(found['weights_share'][0]):.0f} %)")
    axes[0].set_ylabel(f"component 2 ({100 * float(found['weights_share'][1]):.0f} %)")
    figure.colorbar(points, ax=axes, label="true k/m (1/s²)")
    return figure
