"""The noise arguments: the noise model, and unknown levels or known ones as weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.likelihood.problem import NoiseKind
from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.noise.huber import Huber
from warp_phys.systems.noise.location_scale import NormalErrors
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.noise.registry import as_noise

LOSSES = ("linear", "huber")


def noise_model(distribution: Noise | str | Mapping[str, Any], loss: str) -> Noise:
    """Return the noise model with the loss by which it is fitted.

    Raises:
        UnknownNameError: No noise model or no loss has this name.
        UsageError: The noise model has its own loss.
    """
    noise = as_noise(distribution)
    if loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    if loss == "linear":
        return noise
    if not isinstance(noise, NormalErrors):
        raise UsageError(
            f'expected loss="huber" with normal or log-normal noise, got {noise.label} noise, '
            "which has a loss of its own; leave out loss"
        )
    return Huber(noise)


def is_joint(noise: Noise, records: Records, kind: NoiseKind) -> bool:
    """Return whether parameters of the noise are unknowns of the fit like any other.

    Args:
        noise: The noise model.
        records: The records.
        kind: Whether its levels are known.
    """
    models = [noise.of(output) for output in range(len(records.outputs))]
    # The level of normal noise cannot be eliminated where some values are limits.
    alone = records.censored is None and not any(one.level_is_joint for one in (noise, *models))
    unknown = any(one.unknown for one in models)
    return unknown or (has_levels(noise, records, kind) and not alone)


def has_levels(noise: Noise, records: Records, kind: NoiseKind) -> bool:
    """Return whether levels of the noise are unknown."""
    models = [noise.of(output) for output in range(len(records.outputs))]
    return kind != "known" and any(one.level_name is not None for one in models)


def check_limits(noise: Noise, records: Records) -> None:
    """Raise UsageError where values are censored whose noise knows no limits."""
    if records.censored is None:
        return
    for output, name in enumerate(records.outputs):
        flags, one = records.censored[..., output], noise.of(output)
        if one.knows_limits or not bool((flags > 0.0).any()):
            continue
        row, sample = (flags > 0.0).nonzero()[0].tolist()
        raise UsageError(
            f"{name} is censored at sample {sample} of trajectory {records.labels[row]}, which "
            f"{one.label} noise cannot take into account; normal, lognormal and "
            "additive_proportional noise can"
        )


def noise_weights(noise: Noise, records: Records, noise_sd: Any) -> tuple[NoiseKind, Tensor | None]:
    """Return the kind of the noise levels, and weights (N, T, O) where they are known.

    Args:
        noise: The noise model.
        records: The records.
        noise_sd: "each", "common", a mapping from output to a number, (N,) or (N, T), or an array
            (O,), (N, O) or (N, T, O).
    """
    if noise.level_name is None:
        if isinstance(noise_sd, str) and noise_sd == "each":
            return "known", None
        raise UsageError(f"{noise.label} noise has no level; leave out noise_sd")
    if isinstance(noise_sd, str) and noise_sd == "each":
        return "each", None
    if isinstance(noise_sd, str) and noise_sd == "common":
        return "common", None
    if noise_sd is None or isinstance(noise_sd, str):
        raise UsageError(
            'expected noise_sd as "each", "common", a mapping from output to standard deviation, '
            f"or an array; got {noise_sd!r}"
        )
    if isinstance(noise_sd, Mapping):
        levels = torch.stack(_columns(records, noise_sd), dim=2)
    else:
        levels = _table(records, noise_sd)
    known = _check_positive(records, levels)
    # W = 1 / s^2; where no level is known nothing was observed, and 1 is finite and has no effect.
    return "known", torch.where(known, levels.square().reciprocal(), 1.0).contiguous()


def _columns(records: Records, given: Mapping[str, Any]) -> list[Tensor]:
    for name in given:
        if name not in records.outputs:
            raise unknown_name("observed output", name, records.outputs)
    missing = [name for name in records.outputs if name not in given]
    if missing:
        raise UsageError(
            f"noise_sd knows {', '.join(map(str, given)) or 'nothing'} but not "
            f"{', '.join(missing)}; give all outputs a level, or noise_sd='each'"
        )
    shape = records.times.shape
    return [_expanded(name, given[name], shape) for name in records.outputs]


def _expanded(name: str, value: Any, shape: torch.Size) -> Tensor:
    numbers = _numbers(value)
    if numbers.shape == (shape[0],):
        numbers = numbers.unsqueeze(1)
    if numbers.ndim == 0 or numbers.shape in ((shape[0], 1), tuple(shape)):
        return numbers.expand(shape)
    raise UsageError(
        f"expected noise_sd[{name!r}] as a number, {shape[0]} numbers (one for each trajectory) or "
        f"an array {tuple(shape)} (trajectory, sample); got shape {tuple(numbers.shape)}"
    )


def _table(records: Records, value: Any) -> Tensor:
    numbers = _numbers(value)
    count, length = records.times.shape
    outputs = len(records.outputs)
    if numbers.shape == (count, outputs):
        numbers = numbers.unsqueeze(1)
    if numbers.shape in ((), (outputs,), (count, 1, outputs), (count, length, outputs)):
        return numbers.expand(count, length, outputs)
    raise UsageError(
        f"expected noise_sd as an array ({outputs},), ({count}, {outputs}) or "
        f"({count}, {length}, {outputs}), outputs {', '.join(records.outputs)} last; got shape "
        f"{tuple(numbers.shape)}"
    )


def _numbers(value: Any) -> Tensor:
    array = value.values if isinstance(value, xr.DataArray) else value
    try:
        return torch.as_tensor(np.array(array, dtype=np.float64))
    except (TypeError, ValueError):
        raise UsageError(f"expected standard deviations as numbers, got {value!r}") from None


def _check_positive(records: Records, levels: Tensor) -> Tensor:
    """Return where levels (N, T, O) are positive; raise UsageError for values without one."""
    known = (levels > 0.0) & levels.isfinite()
    wrong = records.seen & ~known
    if wrong.any():
        row, sample, output = wrong.nonzero()[0].tolist()
        raise UsageError(
            f"expected positive standard deviations; noise_sd of {records.outputs[output]!r} is "
            f"{float(levels[row, sample, output]):g} at sample {sample} of trajectory "
            f"{records.labels[row]}"
        )
    return known
