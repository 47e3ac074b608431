"""Moments of a data set as the prior of the information head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.models.information.prior.prior import Moments
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.supports import to_unconstrained
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.registry import noise_of
from warp_phys.training.data import TrainingData, read_training_data

# Standard deviations of a coordinate below this share of its size are rounding: a constant.
_CONSTANT = 1e-9
# Least standard deviation of the logarithm of a noise level: measured records are never so alike.
_LEAST_LEVEL_SPREAD = 0.1
# Least variance of a combination of coordinates, scaled to variance 1 each: quantities that move
# together have no variance across, which has no inverse.
_LEAST_VARIANCE = 1e-6
# Fewest records from which a covariance of Q unknowns is taken, for each unknown.
_RECORDS_PER_UNKNOWN = 5


def moments_of(data: xr.Dataset, system: System) -> tuple[Moments, TrainingData]:
    """Return mean and covariance of the true unknowns of a data set, and its records.

    Raises:
        UsageError: The truth is not known, or there are too few records.
    """
    training = read_training_data(data, system, forcing=True)
    if not training.supervised:
        raise UsageError(
            "the information head learns its prior from true values, and the data set has no "
            "'true_parameters'; simulate one, or give priors={...}"
        )
    truth = training.truth
    labels, columns, fixed = _varying(system.parameters, truth.parameters, "{}")
    states: dict[str, float] = {}
    if not system.has_initial_state:
        more, others, states = _varying(system.states, truth.initial_state, "{}(0)")
        labels, columns = labels + more, columns + others
    _check_count(len(truth.parameters), len(labels), system)
    line = torch.stack(columns, dim=1)
    known = {parameter.name for parameter in system.parameters if parameter.fixed is not None}
    return (
        Moments(
            labels=tuple(labels),
            mean=line.mean(dim=0),
            covariance=_covariance(line),
            levels=_levels(training.records.outputs, truth.noise_sd),
            fixed={name: value for name, value in fixed.items() if name not in known},
            states=states,
            noise=noise_of(data.attrs),
            trajectories=len(truth.parameters),
        ),
        training,
    )


def _varying(
    specs: Sequence[Any], values: Tensor, label: str
) -> tuple[list[str], list[Tensor], dict[str, float]]:
    """Return labels and coordinates (N,) of quantities that vary, and the values of the others."""
    labels, columns, constant = [], [], {}
    for place, spec in enumerate(specs):
        column = values[:, place]
        line = to_unconstrained(column, spec.support)
        size = line.abs().max().clamp_min(1e-300)
        if line.isfinite().all() and float(line.std(correction=0)) > _CONSTANT * float(size):
            labels.append(label.format(spec.name))
            columns.append(line)
        else:
            constant[spec.name] = float(column[0])
    return labels, columns, constant


def _covariance(line: Tensor) -> Tensor:
    """Return the covariance (Q, Q) of coordinates (N, Q)."""
    found = torch.cov(line.T).reshape(line.shape[1], line.shape[1])
    scale = found.diagonal().sqrt()
    values, vectors = torch.linalg.eigh(found / scale / scale.unsqueeze(1))
    if values[0] >= _LEAST_VARIANCE:
        return found
    return (vectors * values.clamp_min(_LEAST_VARIANCE)) @ vectors.T * scale * scale.unsqueeze(1)


def _levels(outputs: Sequence[str], levels: Tensor) -> dict[str, tuple[float, float]]:
    found = {}
    for place, name in enumerate(outputs):
        column = levels[:, place]
        if bool((column > 0.0).all()):
            spread = float(np.std(column.log().numpy()))
            found[name] = float(column.log().mean()), max(spread, _LEAST_LEVEL_SPREAD)
    return found


def _check_count(records: int, unknowns: int, system: System) -> None:
    if not unknowns:
        raise UsageError(
            f"no parameter of {system.name} varies over the data set, so there is nothing to "
            "learn; simulate with ranges or distributions"
        )
    needed = _RECORDS_PER_UNKNOWN * unknowns
    if records < needed:
        raise UsageError(
            f"expected at least {needed} records for the covariance of {unknowns} unknowns, got "
            f"{records}; simulate more, or give priors={{...}}"
        )
