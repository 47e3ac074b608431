"""Starting points of fits: middles of the usual ranges, first observed values, Latin hypercubes."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from warp_phys.likelihood.groups import same_in_group
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.unknown import Unknown


def middle_start(problem: FitProblem) -> Tensor:
    """Return (N, D): parameters in the middle of their ranges, states as first observed."""
    return from_observed_states(problem, problem.unknowns.middles)


def from_observed_states(problem: FitProblem, z: Tensor, samples: int | None = None) -> Tensor:
    """Return coordinates (..., N, D) with the initial states as first observed.

    Args:
        problem: N records.
        z: (..., D), (..., 1, D) or (..., N, D), coordinates of all unknowns; those of parameters
            and of states that were not observed are kept.
        samples: How many samples of each record count; None for all.
    """
    entries = problem.unknowns.entries
    columns = [_observed_coordinate(problem, entry, samples) for entry in entries]
    observed = torch.stack(columns, dim=1)
    found = torch.where(observed.isfinite(), observed, z)
    # First observed values differ between trajectories that share an initial state.
    sharing = any(entry.shared and entry.kind == "initial_state" for entry in entries)
    return same_in_group(problem, found) if sharing else found


def _observed_coordinate(problem: FitProblem, entry: Unknown, samples: int | None) -> Tensor:
    """Return (N,), the coordinate of a state as first observed; NaN where there is none."""
    nothing = torch.full((len(problem),), torch.nan, dtype=torch.float64)
    if entry.kind != "initial_state":
        return nothing
    first = _first_observed(problem, entry, samples)
    return torch.where(first.isfinite(), entry.coordinate(first.nan_to_num(1.0)), nothing)


def _first_observed(problem: FitProblem, entry: Unknown, samples: int | None) -> Tensor:
    """Return (N,), the first value of the output that is this state; NaN where there is none."""
    system, records = problem.system, problem.records
    nothing = torch.full((len(problem),), torch.nan, dtype=torch.float64)
    if not system.observes_all_states:
        return nothing
    name = system.output_names[entry.index]
    if name not in records.outputs:
        return nothing
    values = records.observed[:, :samples, records.outputs.index(name)]
    place = values.isfinite().long().argmax(dim=1)
    first = values.gather(1, place.unsqueeze(1)).squeeze(1)
    if records.doses is not None:
        # A dose at the initial time is added after the initial state, and the sample shows both.
        first = first - records.doses.rise_at(system, problem.start)[:, entry.index]
    if entry.support == "positive":
        # Noise may take a positive state to zero or below, where its logarithm does not exist: one
        # per cent of the largest value then stands in for it.
        greatest = values.nan_to_num(0.0).amax(dim=1)
        first = torch.where(first > 0.0, first, 1e-2 * greatest)
        first = torch.where(first > 0.0, first, torch.nan)
    return first


def spread_starts(problem: FitProblem, design: int, count: int) -> Tensor:
    """Return (count, N, D), a Latin hypercube over the usual ranges; observed states as observed.

    The points are the same for every trajectory, so that none depends on its batch.

    Args:
        problem: N records.
        design: The number of the design; each has other points.
        count: How many points.

    References:
        M. D. McKay, R. J. Beckman, W. J. Conover, Technometrics 21 (1979) 239-245,
        doi:10.1080/00401706.1979.10489755.
    """
    unknowns = problem.unknowns
    # Every unknown takes each of `count` equal parts of its range once. Seeds are fixed, so that
    # fits are reproducible.
    hypercube = qmc.LatinHypercube(len(unknowns), seed=np.random.default_rng(design))
    points = torch.from_numpy(hypercube.random(count))
    # Uniform on the real line between the ends of the usual range: log-uniform if positive.
    columns = [entry.between(points[:, at]) for at, entry in enumerate(unknowns.entries)]
    drawn = torch.stack(columns, dim=1)
    return from_observed_states(problem, drawn.unsqueeze(1))
