"""The levels and further parameters of the noise, as the result of a fit reports them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from warp_phys.fitting.solved import Solved
from warp_phys.fitting.uncertainty.covariance import Uncertainty
from warp_phys.fitting.uncertainty.intervals import Intervals
from warp_phys.likelihood.density import noise_table
from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.noise.sample_terms import LEVEL
from warp_phys.systems.schema.labels import Coordinates, named_coords


def noise_parameter_names(problem: FitProblem) -> tuple[str, ...]:
    """Return the names of what the noise has among the unknowns of a fit."""
    return tuple(entry.name for entry in problem.unknowns.entries if entry.kind == "noise")


def noise_parameter_coords(problem: FitProblem) -> Coordinates:
    """Return the coordinate of the noise's parameters, none where no parameter is unknown."""
    entries = [entry for entry in problem.unknowns.entries if entry.kind == "noise"]
    if not entries:
        return {}
    units = [entry.unit for entry in entries]
    return named_coords("noise_parameter", [entry.name for entry in entries], units)


def noise_values(
    problem: FitProblem, solved: Solved, known: Uncertainty, ends: Intervals
) -> dict[str, Tensor]:
    """Return estimates (N, Q), standard errors and intervals of the noise's parameters."""
    chosen = problem.unknowns.noisy
    if not bool(chosen.any()):
        return {}
    errors = known.covariance.diagonal(dim1=1, dim2=2).clamp_min(0.0).sqrt()
    return {
        "noise_parameters": problem.unknowns.values(solved.z)[:, chosen],
        "noise_parameters_standard_errors": errors[:, chosen],
        "noise_parameters_lower": ends.lower[:, chosen],
        "noise_parameters_upper": ends.upper[:, chosen],
    }


def noise_sd(problem: FitProblem, solved: Solved, known: Uncertainty) -> Tensor:
    """Return the level of the noise (N, O), NaN where an output's noise has none."""
    found = known.noise_variance.sqrt()
    if problem.weights is not None:
        # The root mean square of the given levels; weights are 1 / s^2.
        seen = problem.records.seen
        total = torch.where(seen, problem.weights.reciprocal(), 0.0).sum(dim=1)
        found = (total / seen.sum(dim=1).clamp_min(1)).sqrt()
    found = found.clone()
    own = problem.own
    table = None if own is None else noise_table(problem, solved.z)
    for output in range(len(problem.records.outputs)):
        if problem.distribution.of(output).level_name is None:
            found[:, output] = torch.nan
        elif own is not None and table is not None and LEVEL in own.names[output]:
            found[:, output] = own.values(table, output)[LEVEL][:, 0]
    return found


def noise_parameter_settings(problem: FitProblem) -> dict[str, Any]:
    """Return which attribute of which output's noise each unknown parameter is."""
    own = problem.own
    if own is None:
        return {}
    names = {entry.index: entry.name for entry in problem.unknowns.entries if entry.kind == "noise"}
    return {
        "noise_parameters": {
            output: {name: names[column] for name, column in zip(one, columns, strict=True)}
            for output, one, columns in zip(
                problem.records.outputs, own.names, own.columns, strict=True
            )
        }
    }
