"""Unknown parameters of the noise that are estimated jointly with those of the system.

Usually the level of normal noise is eliminated from the likelihood (`noise_levels`). Where that
cannot be done, because the noise has further parameters, values are censored, or there are priors,
each level and each parameter of the noise is an unknown of the fit like any other, whose value
stands behind those of the system's parameters in one table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from warp_phys.likelihood.unknown import Unknown
from warp_phys.records.records import Records
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.noise.sample_terms import LEVEL

# The usual level of noise whose size is not known. It must not depend on the data of other
# trajectories; fits begin at levels that are guessed from their own residuals.
_USUAL = (0.01, 1.0)
# That of a record without residuals, as a share of the size of its values.
_SHARE = 0.1


@dataclass(frozen=True)
class OwnNoise:
    """Which parameters of the noise of O outputs are unknown.

    Attributes:
        names: Their names by output; `LEVEL` is the level.
        columns: Their columns by output, behind the parameters of the system.
        kind: Whether each output has an unknown level, all have one in common, or it is known.
    """

    names: tuple[tuple[str, ...], ...]
    columns: tuple[tuple[int, ...], ...]
    kind: Literal["each", "common", "known"]

    def values(self, table: Tensor, output: int) -> dict[str, Tensor]:
        """Return the values (N, 1) of one output's parameters by name, from a table (N, P + Q)."""
        pairs = zip(self.names[output], self.columns[output], strict=True)
        return {name: table[:, column, None] for name, column in pairs}


def own_noise(
    noise: Noise,
    records: Records,
    kind: Literal["each", "common", "known"],
    *,
    first: int,
    shared: bool,
) -> tuple[OwnNoise, tuple[Unknown, ...]]:
    """Return the unknown parameters of the noise, and the unknowns of a fit that they are.

    Args:
        noise: The noise model.
        records: The records.
        kind: See `OwnNoise`.
        first: The column of the first of them.
        shared: Whether the trajectories of a group share them.
    """
    names, columns, entries = [], [], []
    places: dict[str, int] = {}
    for output, label in enumerate(records.outputs):
        one = noise.of(output)
        level = [LEVEL] if one.level_name is not None and kind != "known" else []
        names.append((*level, *(parameter.name for parameter in one.unknown)))
        labels = [_level_label(label, kind)] if level else []
        labels += [f"{parameter.name}({label})" for parameter in one.unknown]
        for place, text in enumerate(labels):
            if text in places:
                continue
            places[text] = first + len(places)
            usual, unit = _USUAL, one.level_unit(_unit(records, output))
            if place >= len(level):
                parameter = one.unknown[place - len(level)]
                assert parameter.range is not None
                usual, unit = parameter.range, parameter.unit
            entry = Unknown("noise", text, unit, places[text], "positive", usual, shared, True)
            entries.append(entry)
        columns.append(tuple(places[text] for text in labels))
    return OwnNoise(tuple(names), tuple(columns), kind), tuple(entries)


def _level_label(output: str, kind: str) -> str:
    return "noise_sd" if kind == "common" else f"noise_sd({output})"


def _unit(records: Records, output: int) -> str:
    return records.output_units[output] if records.output_units else ""


def own_start(noise: Noise, own: OwnNoise, observed: Tensor, predicted: Tensor) -> Tensor:
    """Return rough values (N, Q) of the noise's unknown parameters, NaN where nothing is known.

    Args:
        noise: The noise model.
        own: Which are unknown.
        observed: (N, T, O), NaN where missing.
        predicted: (N, T, O), by least squares.
    """
    size = 1 + max((column for columns in own.columns for column in columns), default=-1)
    first = min((column for columns in own.columns for column in columns), default=0)
    found = torch.full((len(observed), size), torch.nan, dtype=observed.dtype)
    for output, columns in enumerate(own.columns):
        seen = torch.where(predicted[..., output].isfinite(), observed[..., output], torch.nan)
        values = noise.of(output).own_start(seen, predicted[..., output])
        for name, column in zip(own.names[output], columns, strict=True):
            value = values.get(name)
            if name == LEVEL:
                value = _level_or_share(noise.of(output), observed[..., output], value)
            if value is not None:
                # A common level begins as large as that of its noisiest output.
                found[:, column] = torch.fmax(found[:, column], value)
    return found[:, first:]


def _level_or_share(noise: Noise, observed: Tensor, level: Tensor | None) -> Tensor:
    """Return levels (N,), in place of those that are zero or unknown a share of the values."""
    size = noise.magnitude(observed).square().nanmean(dim=1).sqrt()
    share = _SHARE * torch.where(size > 0.0, size, 1.0)
    if level is None:
        return share
    return torch.where(level.isfinite() & (level > 0.0), level, share)
