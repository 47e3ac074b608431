"""Forecasts: the physics run on from frozen parameters, with bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor
from tqdm import tqdm

from warp_phys._bands import check_level
from warp_phys._coordinates import Physical
from warp_phys._estimate import estimate
from warp_phys._model import WarpPhys
from warp_phys._roots import flow
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
from warp_phys.systems._supports import to_physical
from warp_phys.systems._system import System

_TOLERANCES = {"rtol": 1e-6, "atol": 1e-9}
_FLOWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class _Frozen:
    """Unknowns of each trajectory at its last sample, and when its initial state held."""

    unknowns: Physical
    start: Tensor
    mean: Tensor | None
    root: Tensor | None


@torch.no_grad()
def forecast(
    model_or_estimate: WarpPhys | xr.Dataset,
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
        model_or_estimate: A model, with the records as `data`; or what `estimate` returned.
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
        regression head) gives `predicted` alone.

    Raises:
        UsageError: The times lie before the records, or `data` is missing.
        SchemaError: The data set is not what `estimate` returned.
    """
    check_level(level)
    if draws < 2:
        raise UsageError(f"expected at least two draws, got {draws}")
    estimated, known = _estimated(model_or_estimate, data, system, progress=progress)
    grid = torch.as_tensor(np.array(times, dtype=np.float64))
    check_times(grid.numpy())
    frozen = _freeze(estimated, known, [str(name) for name in estimated["output"].values])
    _check_start(grid, frozen.start, estimated)
    names = [str(name) for name in estimated["output"].values]
    columns = [known.output_names.index(name) for name in names]
    if frozen.root is None:
        outputs = _run(known, frozen.unknowns, grid, frozen.start)[..., columns]
        values = {"predicted": outputs}
    else:
        generator = torch.Generator().manual_seed(seed)
        values = _with_bands(
            known, estimated, frozen, grid, columns, level, draws, generator, progress=progress
        )
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
        rtol=_TOLERANCES["rtol"],
        atol=_TOLERANCES["atol"],
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


def _freeze(estimated: xr.Dataset, system: System, outputs: list[str]) -> _Frozen:
    """Take each trajectory's unknowns at its last sample."""
    times = estimated["time"].values
    count = estimated.sizes["trajectory"]
    grid = np.broadcast_to(times, (count, times.shape[-1]))
    last = np.isfinite(grid).sum(axis=1) - 1
    rows = np.arange(count)

    def at_last(name: str) -> Tensor:
        return torch.as_tensor(estimated[name].values[rows, last])

    noise = at_last("noise_sd") if "noise_sd" in estimated else torch.zeros(count, len(outputs))
    unknowns = Physical(at_last("parameters"), at_last("initial_state"), noise.double())
    start = torch.as_tensor(grid[:, 0].copy())
    if "unknowns" not in estimated:
        return _Frozen(unknowns, start, None, None)
    values, vectors = torch.linalg.eigh(at_last("unknowns_covariance"))
    # Square root by eigenvalues: a tight combination leaves some of them at round-off.
    root = vectors * values.clamp_min(0.0).sqrt().unsqueeze(-2)
    return _Frozen(unknowns, start, at_last("unknowns"), root)


def _with_bands(
    system: System,
    estimated: xr.Dataset,
    frozen: _Frozen,
    grid: Tensor,
    columns: list[int],
    level: float,
    draws: int,
    generator: torch.Generator,
    *,
    progress: bool,
) -> dict[str, Tensor]:
    lognormal = estimated.attrs.get("distribution") == "lognormal"
    tail = 0.5 * (1.0 - level)
    quantiles = torch.tensor([0.5, tail, 1.0 - tail], dtype=torch.float64)
    rows: list[tuple[Tensor, Tensor]] = []
    for row in tqdm(range(len(frozen.start)), desc="forecast", delay=2.0, disable=not progress):
        drawn = _draw(system, estimated, frozen, row, draws, generator)
        start = frozen.start[row].expand(draws)
        outputs = _run(system, drawn, grid, start)[..., columns]
        noise = torch.randn(outputs.shape, dtype=torch.float64, generator=generator)
        noise = noise * drawn.noise_sd.unsqueeze(1)
        measured = outputs * noise.exp() if lognormal else outputs + noise
        rows.append((outputs.nanquantile(quantiles, dim=0), measured.nanquantile(quantiles, dim=0)))
    curve, measurement = (torch.stack([row[part] for row in rows], dim=1) for part in (0, 1))
    return {
        "predicted": curve[0],
        "predicted_lower": curve[1],
        "predicted_upper": curve[2],
        "observed_lower": measurement[1],
        "observed_upper": measurement[2],
    }


def _draw(
    system: System,
    estimated: xr.Dataset,
    frozen: _Frozen,
    row: int,
    draws: int,
    generator: torch.Generator,
) -> Physical:
    """Draw unknowns of one trajectory; constants keep their value."""
    if frozen.mean is None or frozen.root is None:
        raise SchemaError("the estimate has no distribution to draw from")
    normal = torch.randn(draws, frozen.mean.shape[1], dtype=torch.float64, generator=generator)
    line = frozen.mean[row] + normal @ frozen.root[row].T
    parts = {
        "parameter": frozen.unknowns.parameters[row].repeat(draws, 1),
        "initial_state": frozen.unknowns.initial_state[row].repeat(draws, 1),
        "noise_sd": frozen.unknowns.noise_sd[row].repeat(draws, 1),
    }
    for place, (name, kind) in enumerate(
        zip(estimated["unknown"].values, estimated["unknown_kind"].values, strict=True)
    ):
        index, support = _where(system, str(kind), str(name), estimated)
        parts[str(kind)][:, index] = to_physical(line[:, place], support)
    return Physical(parts["parameter"], parts["initial_state"], parts["noise_sd"])


def _where(system: System, kind: str, name: str, estimated: xr.Dataset) -> tuple[int, Any]:
    if kind == "noise_sd":
        return list(estimated["output"].values).index(name), "positive"
    specs = system.parameters if kind == "parameter" else system.states
    index = [spec.name for spec in specs].index(name)
    return index, specs[index].support


def _run(system: System, unknowns: Physical, grid: Tensor, start: Tensor) -> Tensor:
    """Return all outputs (M, T, O) of M sets of unknowns."""
    parts = []
    for low in range(0, len(start), _FLOWS_AT_ONCE):
        piece = slice(low, low + _FLOWS_AT_ONCE)
        chosen = Physical(
            unknowns.parameters[piece], unknowns.initial_state[piece], unknowns.noise_sd[piece]
        )
        times = grid.expand(len(chosen.parameters), -1)
        parts.append(flow(system, chosen, times, start[piece], None, **_TOLERANCES))
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
