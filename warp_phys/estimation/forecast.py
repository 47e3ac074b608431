"""Forecasts: integration from frozen parameters beyond the records, with bands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from warp_phys.estimation.estimate import estimate
from warp_phys.estimation.forecast_bands import FLOW, Frozen, Options, bands, run_on
from warp_phys.estimation.forecast_estimate import freeze_estimate
from warp_phys.estimation.forecast_fit import freeze_fit
from warp_phys.estimation.forecast_warp import forecast_warp
from warp_phys.fitting.result.completion import completion_of
from warp_phys.fitting.result.read import as_fit, is_fit
from warp_phys.models.bands import check_level
from warp_phys.models.warp import Warp
from warp_phys.models.warp_phys import WarpPhys
from warp_phys.systems.catalog.registry import get_system, system_names
from warp_phys.systems.errors import SchemaError, UsageError
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.labels import (
    check_times,
    labeled,
    output_coords,
    stamp,
    time_coords,
    trajectory_coords,
)

_LEVEL, _DRAWS, _SEED = 0.9, 400, 0


@torch.no_grad()
def forecast(
    model_or_fit: WarpPhys | Warp | xr.Dataset,
    times: ArrayLike,
    *,
    data: xr.Dataset | None = None,
    system: System | None = None,
    level: float = _LEVEL,
    draws: int = _DRAWS,
    seed: int = _SEED,
    progress: bool = True,
) -> xr.Dataset:
    """Forecast with fitted parameters, or with those estimated at the last sample of each record.

    To forecast, theta is frozen and the system is integrated forward; nothing is fed back through
    the network. The integration starts from the fitted or estimated initial state, which all
    samples together determine better than the last noisy sample does, and continues beyond the
    record. With `drift` it starts from the estimated state at the last sample. Doses in the records
    that were fitted are applied, also those after the last sample; no others are given.

    Args:
        model_or_fit: What `fit` or `estimate` returned; or a model, with the records as `data`.
            For a `Warp`, the root network is evaluated with frozen weights, without bands;
            `level`, `draws` and `seed` are not for it.
        times: (M,), times of the forecast, in the records' time, not before their first sample
            (for a fit, not before its initial time).
        data: Records, where a model is given.
        system: Needed for a user's own system, where a fit or an estimate is given.
        level: Probability inside the bands.
        draws: Sets of unknowns drawn for the bands.
        seed: Seed for the random draws.
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
        >>> import numpy as np
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
    if system is not None and isinstance(model_or_fit, WarpPhys | Warp):
        raise UsageError("pass system= with a fit or an estimate only, not with a model")
    if isinstance(model_or_fit, Warp):
        _check_no_bands(level=level, draws=draws, seed=seed)
        return forecast_warp(model_or_fit, grid, data)
    estimated, known = _estimated(model_or_fit, data, system, progress=progress)
    _check_inputs(known)
    fitted = is_fit(estimated)
    if fitted:
        known, complete = completion_of(estimated, known)
        frozen = freeze_fit(estimated, known, complete)
    else:
        frozen = freeze_estimate(estimated, known)
    _check_start(grid, frozen, "initial state" if fitted else "first sample")
    values: dict[str, Tensor] = {}
    if frozen.spread is not None:
        options = Options(level, draws, seed, progress)
        values = bands(known, frozen, frozen.spread, grid, options)
    # The curve of a fit is that of its optimum. An estimate is drawn from a distribution, whose
    # median is its curve.
    if fitted or frozen.spread is None:
        values["predicted"] = run_on(known, frozen, grid)
    dataset = _dataset(known, frozen, grid, values)
    return stamp(
        dataset,
        title=f"forecast of {known.name}",
        system=known,
        settings={"level": level, "draws": draws},
        seed=seed,
        references=known.reference,
        function="forecast",
        history=frozen.history,
        rtol=FLOW["rtol"],
    ).assign_attrs(band_level=level)


def _check_no_bands(**given: float) -> None:
    """Raise UsageError if an option of the bands is given where there are none."""
    usual = {"level": _LEVEL, "draws": _DRAWS, "seed": _SEED}
    for name, value in given.items():
        if value != usual[name]:
            raise UsageError(
                f"expected no {name} with Warp, whose forecasts have no bands, got {value!r}; "
                "leave it out"
            )


def _check_inputs(system: System) -> None:
    if system.inputs:
        raise UsageError(
            f"{system.name} is driven by {', '.join(system.input_names)}, whose future a forecast "
            "does not know; integrate(...) runs it under inputs you give"
        )


def _dataset(
    system: System, frozen: Frozen, grid: Tensor, values: Mapping[str, Tensor]
) -> xr.Dataset:
    """Return outputs and bands (N, T, O) as a data set."""
    return labeled(
        {name: value.numpy() for name, value in values.items()},
        {
            **trajectory_coords(frozen.labels),
            **time_coords(system, grid.numpy()),
            **output_coords(system, frozen.outputs),
        },
    )


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


def _check_start(grid: Tensor, frozen: Frozen, what: str) -> None:
    early = grid.min() < frozen.start
    if early.any():
        row = int(early.nonzero()[0])
        raise UsageError(
            f"expected times from {float(frozen.start[row]):g} on, the {what} of trajectory "
            f"{frozen.labels[row]}, got {float(grid.min()):g}"
        )
