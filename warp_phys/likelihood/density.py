"""The log density of every measured value of records, also of censored ones."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.noise.sample_terms import ABOVE, BELOW, LEVEL


def log_density(problem: FitProblem, z: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
    """Return log p (N, T, O) of the values, zero where nothing was measured.

    Of a censored value it is the logarithm of the probability to be below or above its limit.

    Args:
        problem: The problem.
        z: (N, D), coordinates of the unknowns.
        predicted: (N, T, O).
        level: (N, T, O) or (N, 1, O), levels of the noise where they are not among the unknowns.
    """
    records = problem.records
    level = level.expand_as(predicted)
    columns = []
    for output in range(len(records.outputs)):
        noise, size = noise_at(problem, z, output, level[..., output])
        observed, f = records.observed[..., output], predicted[..., output]
        found = noise.log_density(observed, f, size)
        if records.censored is not None:
            flags = records.censored[..., output]
            found = torch.where(flags == BELOW, noise.log_below(observed, f, size), found)
            found = torch.where(flags == ABOVE, noise.log_above(observed, f, size), found)
        columns.append(found)
    return torch.where(records.seen, torch.stack(columns, dim=2), 0.0)


def noise_at(problem: FitProblem, z: Tensor, output: int, level: Tensor) -> tuple[Noise, Tensor]:
    """Return the noise of an output with its parameters, and its level (N, T).

    Args:
        problem: The problem.
        z: (N, D), coordinates of the unknowns.
        output: The number of the output.
        level: (N, T), its level where that is not among the unknowns.
    """
    noise = problem.distribution.of(output)
    if problem.own is None:
        return noise, level
    table = noise_table(problem, z)
    values = {
        name: part.expand_as(level) for name, part in problem.own.values(table, output).items()
    }
    level = values.pop(LEVEL, level)
    return noise.at(values), level


def noise_table(problem: FitProblem, z: Tensor) -> Tensor:
    """Return a table (N, P + Q) with the values of the noise's unknown parameters."""
    unknowns = problem.unknowns
    table = unknowns.parameters.clone()
    values = unknowns.values(z)
    for place, entry in enumerate(unknowns.entries):
        if entry.kind == "noise":
            table[:, entry.index] = values[:, place]
    return table
