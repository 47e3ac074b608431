"""Starting points of fits: middles of the usual ranges, first observed values, Sobol points."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.unknowns import Unknown


def middle_start(problem: FitProblem, samples: int | None = None) -> Tensor:
    """Return (N, D): parameters in the middle of their ranges, states as first observed.

    Args:
        problem: N records.
        samples: How many samples of each record count; None for all.
    """
    entries = problem.unknowns.entries
    return torch.stack([_middle(problem, entry, samples) for entry in entries], dim=1)


def _middle(problem: FitProblem, entry: Unknown, samples: int | None) -> Tensor:
    default = torch.full((len(problem),), entry.middle(), dtype=torch.float64)
    if entry.kind == "parameter":
        return default
    first = first_observed(problem, entry, samples)
    return torch.where(first.isfinite(), entry.coordinate(first.nan_to_num(1.0)), default)


def first_observed(problem: FitProblem, entry: Unknown, samples: int | None = None) -> Tensor:
    """Return (N,), the first value of the output that is this state; NaN where there is none.

    Args:
        problem: N records.
        entry: An unknown initial state.
        samples: How many samples of each record count; None for all.
    """
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


def spread_starts(problem: FitProblem, count: int) -> Tensor:
    """Return (count, N, D), points of a Sobol sequence over the usual ranges.

    The points are the same for every trajectory, so that none depends on its batch. States that are
    observed start from their first observed value.
    """
    entries = problem.unknowns.entries
    # A low-discrepancy sequence covers the box of D dimensions evenly with few points; the seed is
    # fixed, so that fits are reproducible.
    engine = torch.quasirandom.SobolEngine(max(len(entries), 1), scramble=True, seed=0)
    points = engine.draw(count, dtype=torch.float64)
    z = middle_start(problem).unsqueeze(0).repeat(count, 1, 1)
    for place, entry in enumerate(entries):
        hidden = torch.ones(len(problem), dtype=torch.bool)
        if entry.kind == "initial_state":
            hidden = ~first_observed(problem, entry).isfinite()
        # Uniform on the real line between the ends of the usual range: log-uniform if positive.
        drawn = entry.middle() + entry.spread() * (2.0 * points[:, place, None] - 1.0)
        z[:, :, place] = torch.where(hidden, drawn, z[:, :, place])
    return z
