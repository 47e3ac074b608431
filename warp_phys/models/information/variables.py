"""The variables of the information head's estimates, by the names of the data schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.unknown import Unknown
from warp_phys.likelihood.unknowns import Unknowns
from warp_phys.models.information.physical import bands, t_quantile
from warp_phys.models.information.prior.prior import Prior
from warp_phys.models.information.records_estimate import Track

# Standard deviations of the prior beyond which an estimate is out of range.
_FAR = 5.0


def variables(
    problem: FitProblem,
    unknowns: Unknowns,
    prior: Prior,
    found: Track,
    level: float,
    *,
    at_start: bool,
) -> dict[str, Tensor]:
    """Return the variables of some records; values after the last sample of a record are NaN.

    Args:
        problem: N records.
        unknowns: The unknowns of the track.
        prior: The prior.
        found: The track.
        level: Probability inside the bands.
        at_start: Whether states are those at the start, instead of those at each sample.
    """
    variance = found.covariance.diagonal(dim1=2, dim2=3)
    wide = t_quantile(found.freedom, level)
    half_width = wide * variance.sqrt()
    values = bands(problem.system, unknowns, found.mean, half_width, at_start=at_start)
    if problem.noise != "known":
        values["noise_sd"] = found.log_level.exp()
    elif problem.weights is not None:
        values["noise_sd"] = problem.weights.rsqrt()
    values["predicted"] = found.predicted
    found = replace(found, status=found.status | _unreached(problem, found))
    mean, covariance = _joint(problem, found, wide / t_quantile(torch.tensor([torch.inf]), level))
    values |= {"unknowns": mean, "unknowns_covariance": covariance}
    for array in values.values():
        array[~problem.records.valid] = torch.nan
    last = (problem.counts - 1).clamp_min(0)
    rows = torch.arange(len(problem))
    times = problem.records.times[rows, found.since.clamp_min(0)]
    # The prior says nothing about states at later samples.
    kinds = [entry.kind for entry in unknowns.entries]
    compared = len(kinds) if at_start else kinds.count("parameter")
    return values | {
        "described": found.described.to(torch.int8),
        # A record that has ended may still be linearized anew, with others that have not.
        "changed_at": torch.where(found.described[rows, last], torch.nan, times),
        "estimate_status": found.status,
        "out_of_range": _out_of_range(prior, found, rows, last, compared),
    }


def _unreached(problem: FitProblem, found: Track) -> Tensor:
    """Return bit 1 of `ESTIMATE_STATUS` (N, T) where the model has no finite prediction."""
    missing = ~found.predicted.isfinite().all(dim=2)
    return (missing & problem.records.valid).long()


def _joint(problem: FitProblem, found: Track, widening: Tensor) -> tuple[Tensor, Tensor]:
    """Return unknowns (N, T, Q) and their covariance, with the noise levels where unknown.

    Covariances are widened so that normal quantiles of them are the bands, which are those of
    Student's t distribution.
    """
    covariance = found.covariance * widening.unsqueeze(-1) * widening.unsqueeze(-2)
    if problem.noise == "known":
        return found.mean.clone(), covariance
    mean = torch.cat([found.mean, found.log_level], dim=2)
    size, unknowns = mean.shape[2], found.mean.shape[2]
    joint = covariance.new_zeros(*mean.shape, size)
    joint[..., :unknowns, :unknowns] = covariance
    variance = 0.5 / found.level_freedom
    if problem.noise == "common":
        # One level: its entries move together.
        joint[..., unknowns:, unknowns:] = variance[..., :1, None]
    else:
        joint[..., unknowns:, unknowns:] = torch.diag_embed(variance)
    return mean, joint


def _out_of_range(prior: Prior, found: Track, rows: Tensor, last: Tensor, compared: int) -> Tensor:
    """Return the bits of `OUT_OF_RANGE` (N,) at the last sample of each record.

    Args:
        prior: The prior.
        found: The track.
        rows: (N,), 0, 1, ...
        last: (N,), numbers of the last samples.
        compared: How many unknowns, the first ones, are compared with the prior.
    """
    spread = prior.covariance().diagonal().sqrt()[:compared]
    away = (found.mean[rows, last, :compared] - prior.mean[:compared]).abs() / spread
    far = (away > _FAR).any(dim=1)
    status = found.status[rows, last]
    # With an unknown noise level, a model that is wrong from the first sample on looks noisy: its
    # sums of squares do not change, but its residuals resemble their neighbors.
    misfit = ~found.described[rows, last] | (status & 8 != 0)
    failed = status & 1 != 0
    return 16 * far.long() + 32 * misfit.long() + 64 * failed.long()


def unknown_coords(problem: FitProblem, entries: Sequence[Unknown]) -> dict[str, xr.Variable]:
    """Return names and kinds of unknowns, and of the noise levels where unknown, as coordinates."""
    names, kinds = [entry.name for entry in entries], [str(entry.kind) for entry in entries]
    if problem.noise != "known":
        names += problem.records.outputs
        kinds += ["noise_sd"] * len(problem.records.outputs)
    label: Any = np.array(names, dtype=str)
    kind: Any = np.array(kinds, dtype=str)
    return {
        "unknown": xr.Variable("unknown", label, {"long_name": "unknown"}),
        "unknown_kind": xr.Variable("unknown", kind, {"long_name": "what the unknown is"}),
    }
