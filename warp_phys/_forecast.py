"""Forecasts: the physics run on from frozen parameters, with bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor
from tqdm import tqdm

from warp_phys._bands import check_level
from warp_phys._coordinates import Physical, implied_initial_state
from warp_phys._estimate import estimate
from warp_phys._model import WarpPhys
from warp_phys._roots import flow
from warp_phys._warp import Warp
from warp_phys._warp_forecast import forecast_warp
from warp_phys.systems._errors import SchemaError, UsageError
from warp_phys.systems._labels import (
    check_times,
    labelled,
    output_coords,
    stamp,
    time_coords,
    trajectory_coords,
)
from warp_phys.systems._registry import get_system, system_names
from warp_phys.systems._spec import Parameter, State
from warp_phys.systems._supports import Support, to_physical
from warp_phys.systems._system import System

_FLOW = {"rtol": 1e-6, "atol": 1e-9, "max_steps": 1000}
_FLOWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class _Frozen:
    """Unknowns of each trajectory at its last sample, and when its initial state held.

    `spread` holds mean (N, Q) and a square root of the covariance (N, Q, Q), unconstrained.
    """

    unknowns: Physical
    start: Tensor
    spread: tuple[Tensor, Tensor] | None


@dataclass(frozen=True)
class _Options:
    """How bands are drawn."""

    level: float
    draws: int
    seed: int
    progress: bool


@torch.no_grad()
def forecast(
    model_or_estimate: WarpPhys | Warp | xr.Dataset,
    times: ArrayLike,
    *,
    data: xr.Dataset | None = None,
    system: System | None = None,
    level: float = 0.9,
    draws: int = 400,
    seed: int = 0,
    progress: bool = True,
) -> xr.Dataset:
    """Run the physics on from the parameters at each record's last sample.

    theta is frozen there; nothing is fed back through the network. The flow starts from the
    estimated state at the record's first sample, which all its samples together tell better than
    the last noisy one does, and passes through the record into the future.

    Args:
        model_or_estimate: A model, with the records as `data`; or what `estimate` returned. Of a
            `Warp` the root network runs on from frozen weights, without bands.
        times: (M,) when to forecast, in the records' time, not before their first sample.
        data: Records, where a model is given.
        system: Needed for a system of the user's own, where an estimate is given.
        level: Probability inside the bands.
        draws: Sets of unknowns drawn for the bands.
        seed: Of the draws.
        progress: Show a progress bar on long work.

    Returns:
        `predicted` (trajectory, time, output), the median; `predicted_lower` and
        `predicted_upper`, the band of the noiseless output; `observed_lower` and
        `observed_upper`, that of a measurement with its noise. An estimate without bands (the
        regression head, training by reconstruction alone) gives `predicted` alone.

    Raises:
        UsageError: The times lie before the records, or `data` is missing.
        SchemaError: The data set is not what `estimate` returned.
    """
    check_level(level)
    if draws < 2:
        raise UsageError(f"expected at least two draws, got {draws}")
    grid = torch.as_tensor(np.asarray(times, dtype=np.float64).copy())
    check_times(grid.numpy())
    if isinstance(model_or_estimate, Warp):
        return forecast_warp(model_or_estimate, grid, data)
    estimated, known = _estimated(model_or_estimate, data, system, progress=progress)
    if known.inputs:
        raise UsageError(
            f"{known.name} is driven by {', '.join(known.input_names)}, whose future a forecast "
            "does not know; integrate(...) runs it under inputs you give"
        )
    frozen = _freeze(estimated)
    _check_start(grid, frozen.start, estimated)
    names = [str(name) for name in estimated["output"].values]
    if frozen.spread is None:
        columns = [known.output_names.index(name) for name in names]
        values = {"predicted": _run(known, frozen.unknowns, grid, frozen.start)[..., columns]}
    else:
        options = _Options(level, draws, seed, progress)
        values = _with_bands(known, estimated, frozen, grid, options)
    settings = {"level": level, "draws": draws}
    dataset = labelled(
        {name: value.numpy() for name, value in values.items()},
        {
            **trajectory_coords(estimated["trajectory"].values),
            **time_coords(known, grid.numpy()),
            **output_coords(known, names),
        },
    )
    dataset = dataset.assign_attrs(history=estimated.attrs.get("history", ""))
    return stamp(
        dataset,
        title=f"forecast of {known.name}",
        system=known,
        settings=settings,
        seed=seed,
        references=known.reference,
        function="forecast",
        rtol=_FLOW["rtol"],
        atol=_FLOW["atol"],
    ).assign_attrs(band_level=level)


def _estimated(
    given: WarpPhys | xr.Dataset, data: xr.Dataset | None, system: System | None, *, progress: bool
) -> tuple[xr.Dataset, System]:
    if isinstance(given, WarpPhys):
        if data is None:
            raise UsageError("forecast(model, times) needs the records: pass data=")
        return estimate(given, data, progress=progress), given.system
    if not isinstance(given, xr.Dataset) or "parameters" not in given:
        raise SchemaError(
            "expected a model or a data set with 'parameters' from estimate(...), got "
            f"{type(given).__name__}"
        )
    if data is not None:
        raise UsageError("pass data= with a model only; an estimate knows its records")
    name = given.attrs.get("system", "")
    if system is None and name not in system_names():
        raise UsageError(f"the system {name!r} is not shipped; pass system=YourSystem()")
    return given, system if system is not None else get_system(name)


def _freeze(estimated: xr.Dataset) -> _Frozen:
    """Take each trajectory's unknowns at its last sample."""
    times = estimated["time"].values
    count = estimated.sizes["trajectory"]
    grid = np.broadcast_to(times, (count, times.shape[-1]))
    last = np.isfinite(grid).sum(axis=1) - 1
    rows = np.arange(count)

    def at_last(name: str) -> Tensor:
        return torch.as_tensor(estimated[name].values[rows, last])

    outputs = estimated.sizes["output"]
    quiet = torch.zeros(count, outputs, dtype=torch.float64)
    noise = at_last("noise_sd") if "noise_sd" in estimated else quiet
    unknowns = Physical(at_last("parameters"), at_last("initial_state"), noise)
    first = estimated["initial_time"].values if "initial_time" in estimated else grid[:, 0]
    start = torch.as_tensor(first.copy())
    if "unknowns" not in estimated:
        return _Frozen(unknowns, start, None)
    values, vectors = torch.linalg.eigh(at_last("unknowns_covariance"))
    # Square root by eigenvalues: a tight combination leaves some of them at round-off.
    root = vectors * values.clamp_min(0.0).sqrt().unsqueeze(-2)
    return _Frozen(unknowns, start, (at_last("unknowns"), root))


def _with_bands(
    system: System,
    estimated: xr.Dataset,
    frozen: _Frozen,
    grid: Tensor,
    options: _Options,
) -> dict[str, Tensor]:
    """Run the physics from many draws of the unknowns and take quantiles."""
    outputs = [str(name) for name in estimated["output"].values]
    columns = [system.output_names.index(name) for name in outputs]
    entries = [
        _where(system, str(kind), str(name), outputs)
        for name, kind in zip(
            estimated["unknown"].values, estimated["unknown_kind"].values, strict=True
        )
    ]
    # All trajectories share the same standard draws, so none depends on its batch.
    generator = torch.Generator().manual_seed(options.seed)
    normal = torch.randn(options.draws, len(entries), dtype=torch.float64, generator=generator)
    shape = (options.draws, len(grid), len(outputs))
    noise = torch.randn(shape, dtype=torch.float64, generator=generator)
    tail = 0.5 * (1.0 - options.level)
    levels = torch.tensor([0.5, tail, 1.0 - tail], dtype=torch.float64)
    lognormal = estimated.attrs.get("distribution") == "lognormal"
    found: list[Tensor] = []
    together = max(1, _FLOWS_AT_ONCE // options.draws)
    steps = range(0, len(frozen.start), together)
    for low in tqdm(steps, desc="forecast", delay=2.0, disable=not options.progress):
        drawn = _draw(system, frozen, entries, normal, slice(low, low + together))
        start = frozen.start[low : low + together].repeat_interleave(options.draws)
        curves = _run(system, drawn, grid, start)[..., columns].unflatten(0, (-1, options.draws))
        spread = noise * drawn.noise_sd.unflatten(0, (-1, options.draws)).unsqueeze(2)
        measured = curves * spread.exp() if lognormal else curves + spread
        found.append(torch.stack([part.nanquantile(levels, dim=1) for part in (curves, measured)]))
    curve, measurement = torch.cat(found, dim=2)
    return {
        "predicted": curve[0],
        "predicted_lower": curve[1],
        "predicted_upper": curve[2],
        "observed_lower": measurement[1],
        "observed_upper": measurement[2],
    }


def _draw(
    system: System,
    frozen: _Frozen,
    entries: list[tuple[str, int, Support]],
    normal: Tensor,
    rows: slice,
) -> Physical:
    """Draw unknowns, (trajectories x draws, ...), of some trajectories; constants stay."""
    if frozen.spread is None:
        raise SchemaError("the estimate has no distribution to draw from")
    mean, root = (value[rows] for value in frozen.spread)
    line = (mean.unsqueeze(1) + normal @ root.mT).flatten(0, 1)
    repeats = len(normal)
    parts = {
        "parameter": frozen.unknowns.parameters[rows].repeat_interleave(repeats, dim=0),
        "initial_state": frozen.unknowns.initial_state[rows].repeat_interleave(repeats, dim=0),
        "noise_sd": frozen.unknowns.noise_sd[rows].repeat_interleave(repeats, dim=0),
    }
    for place, (kind, index, support) in enumerate(entries):
        parts[kind][:, index] = to_physical(line[:, place], support)
    if system.has_initial_state:
        parts["initial_state"] = implied_initial_state(system, parts["parameter"])
    return Physical(parts["parameter"], parts["initial_state"], parts["noise_sd"])


def _where(system: System, kind: str, name: str, outputs: list[str]) -> tuple[str, int, Support]:
    """Return where an unknown belongs: its kind, its place there, and its support."""
    if kind == "noise_sd":
        return kind, outputs.index(name), "positive"
    specs: Sequence[Parameter | State] = system.parameters
    if kind == "initial_state":
        specs = system.states
    index = [spec.name for spec in specs].index(name)
    return kind, index, specs[index].support


def _run(system: System, unknowns: Physical, grid: Tensor, start: Tensor) -> Tensor:
    """Return all outputs (M, T, O) of M sets of unknowns."""
    parts = []
    for low in range(0, len(start), _FLOWS_AT_ONCE):
        piece = slice(low, low + _FLOWS_AT_ONCE)
        chosen = Physical(
            unknowns.parameters[piece], unknowns.initial_state[piece], unknowns.noise_sd[piece]
        )
        times = grid.expand(len(chosen.parameters), -1)
        parts.append(flow(system, chosen, times, start[piece], None, **_FLOW))
    return torch.cat(parts)


def _check_start(grid: Tensor, start: Tensor, estimated: xr.Dataset) -> None:
    early = grid.min() < start
    if early.any():
        row = int(early.nonzero()[0])
        label = estimated["trajectory"].values[row]
        raise UsageError(
            f"expected times from {float(start[row]):g} on, the first sample of trajectory "
            f"{label}, got {float(grid.min()):g}"
        )
