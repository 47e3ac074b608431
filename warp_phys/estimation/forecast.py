"""Forecasts: the physics run on from frozen parameters, with bands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from warp_phys.estimation.estimate import estimate
from warp_phys.estimation.forecast_bands import FLOW, Frozen, Options, Place, Spread, bands, run_on
from warp_phys.estimation.forecast_fit import freeze_fit
from warp_phys.estimation.forecast_warp import forecast_warp
from warp_phys.fitting.result.read import as_fit, is_fit, noise_model
from warp_phys.models.bands import check_level
from warp_phys.models.coordinates import Physical
from warp_phys.models.warp import Warp
from warp_phys.models.warp_phys import WarpPhys
from warp_phys.systems.catalog.registry import get_system, system_names
from warp_phys.systems.errors import SchemaError, UsageError
from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.labels import (
    check_times,
    labelled,
    output_coords,
    stamp,
    time_coords,
    trajectory_coords,
)

# A wild draw takes more steps than that, and stays NaN.
_MAX_STEPS = 1000


@torch.no_grad()
def forecast(
    model_or_fit: WarpPhys | Warp | xr.Dataset,
    times: ArrayLike,
    *,
    data: xr.Dataset | None = None,
    system: System | None = None,
    level: float = 0.9,
    draws: int = 400,
    seed: int = 0,
    progress: bool = True,
) -> xr.Dataset:
    """Run the physics on from fitted parameters, or those estimated at each record's last sample.

    theta is frozen; nothing is fed back through the network. The flow starts from the fitted or
    estimated initial state, which all samples together tell better than the last noisy one does,
    and passes through the record into the future. Doses in the records that were fitted act on the
    way, those after the last sample, too; no others are given.

    Args:
        model_or_fit: What `fit` or `estimate` returned; or a model, with the records as `data`.
            Of a `Warp` the root network runs on from frozen weights, without bands.
        times: (M,) when to forecast, in the records' time, not before their first sample (of a
            fit, not before its initial time).
        data: Records, where a model is given.
        system: Needed for a system of the user's own, where a fit or an estimate is given.
        level: Probability inside the bands.
        draws: Sets of unknowns drawn for the bands.
        seed: Of the draws.
        progress: Show a progress bar on long work.

    Returns:
        `predicted` (trajectory, time, output), the curve of the fit or the median of an estimate's;
        `predicted_lower` and `predicted_upper`, the band of the noiseless output;
        `observed_lower` and `observed_upper`, that of a measurement with its noise. Bands of a
        fit come from its joint covariance and its noise, by t distributions where the level of
        the noise was unknown; they are NaN where it has not converged. An estimate without bands
        (the regression head, training by reconstruction alone) gives `predicted` alone.

    Raises:
        UsageError: The times lie before the records, or `data` is missing.
        SchemaError: The data set is not what `fit` or `estimate` returned.

    Example:
        >>> from warp_phys import fit
        >>> from warp_phys.data_gen import simulate
        >>> data = simulate("pendulum", n=1, times=np.arange(0.0, 6.0, 0.1), noise=0.01, seed=0)
        >>> ahead = forecast(fit("pendulum", data), [8.0, 10.0])
        >>> bool((ahead.observed_lower < ahead.predicted_lower).all())
        True
    """
    check_level(level)
    if draws < 2:
        raise UsageError(f"expected at least two draws, got {draws}")
    grid = torch.as_tensor(np.asarray(times, dtype=np.float64).copy())
    check_times(grid.numpy())
    if isinstance(model_or_fit, Warp):
        return forecast_warp(model_or_fit, grid, data)
    estimated, known = _estimated(model_or_fit, data, system, progress=progress)
    if known.inputs:
        raise UsageError(
            f"{known.name} is driven by {', '.join(known.input_names)}, whose future a forecast "
            "does not know; integrate(...) runs it under inputs you give"
        )
    fitted = is_fit(estimated)
    frozen = freeze_fit(estimated, known) if fitted else _freeze(estimated, known)
    _check_start(grid, frozen.start, estimated, "initial state" if fitted else "first sample")
    values: dict[str, Tensor] = {}
    if frozen.spread is not None:
        options = Options(level, draws, seed, progress)
        values = bands(known, frozen, frozen.spread, grid, options)
    if fitted or frozen.spread is None:
        values["predicted"] = run_on(known, frozen, grid)
    settings = {"level": level, "draws": draws}
    dataset = labelled(
        {name: value.numpy() for name, value in values.items()},
        {
            **trajectory_coords(estimated["trajectory"].values),
            **time_coords(known, grid.numpy()),
            **output_coords(known, frozen.outputs),
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
        rtol=FLOW["rtol"],
        atol=FLOW["atol"],
    ).assign_attrs(band_level=level)


def _estimated(
    given: WarpPhys | xr.Dataset, data: xr.Dataset | None, system: System | None, *, progress: bool
) -> tuple[xr.Dataset, System]:
    if isinstance(given, WarpPhys):
        if data is None:
            raise UsageError("forecast(model, times) needs the records: pass data=")
        return estimate(given, data, progress=progress), given.system
    in_time = isinstance(given, xr.Dataset) and {"time", "sample"} & set(
        given["parameters"].dims if "parameters" in given else ()
    )
    if not in_time and not is_fit(given):
        raise SchemaError(
            "expected a model or a data set with 'parameters' from estimate(...) or fit(...), got "
            f"{type(given).__name__}"
        )
    if data is not None:
        raise UsageError("pass data= with a model only; fits and estimates know their records")
    if is_fit(given):
        given = as_fit(given)
    name = given.attrs.get("system", "")
    if system is None and name not in system_names():
        raise UsageError(f"the system {name!r} is not shipped; pass system=YourSystem()")
    return given, system if system is not None else get_system(name)


def _freeze(estimated: xr.Dataset, system: System) -> Frozen:
    """Take each trajectory's unknowns at its last sample."""
    times = estimated["time"].values
    count = estimated.sizes["trajectory"]
    grid = np.broadcast_to(times, (count, times.shape[-1]))
    last = np.isfinite(grid).sum(axis=1) - 1
    rows = np.arange(count)

    def at_last(name: str) -> Tensor:
        return torch.as_tensor(estimated[name].values[rows, last])

    outputs = [str(name) for name in estimated["output"].values]
    quiet = torch.zeros(count, len(outputs), dtype=torch.float64)
    noise = at_last("noise_sd") if "noise_sd" in estimated else quiet
    first = estimated["initial_time"].values if "initial_time" in estimated else grid[:, 0]
    spread = None
    if "unknowns" in estimated:
        values, vectors = torch.linalg.eigh(at_last("unknowns_covariance"))
        # Square root by eigenvalues: a tight combination leaves some of them at round-off.
        root = vectors * values.clamp_min(0.0).sqrt().unsqueeze(-2)
        kinds, names = estimated["unknown_kind"].values, estimated["unknown"].values
        places = [
            _where(system, str(kind), str(name), outputs)
            for kind, name in zip(kinds, names, strict=True)
        ]
        spread = Spread(places, at_last("unknowns"), root)
    return Frozen(
        unknowns=Physical(at_last("parameters"), at_last("initial_state"), noise),
        start=torch.as_tensor(first.copy()),
        outputs=outputs,
        distribution=noise_model(estimated),
        spread=spread,
        max_steps=_MAX_STEPS,
    )


def _where(system: System, kind: str, name: str, outputs: list[str]) -> Place:
    """Return where an unknown belongs: its kind, its place there, and its support."""
    if kind == "noise_sd":
        return kind, outputs.index(name), "positive"
    specs: Sequence[Parameter | State] = system.parameters
    if kind == "initial_state":
        specs = system.states
    index = [spec.name for spec in specs].index(name)
    return kind, index, specs[index].support


def _check_start(grid: Tensor, start: Tensor, estimated: xr.Dataset, what: str) -> None:
    early = grid.min() < start
    if early.any():
        row = int(early.nonzero()[0])
        label = estimated["trajectory"].values[row]
        raise UsageError(
            f"expected times from {float(start[row]):g} on, the {what} of trajectory "
            f"{label}, got {float(grid.min()):g}"
        )
