"""Where fits start: the middle of the usual ranges, the regression head, spread points."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.unknowns import Unknown
from warp_phys.models.regression.weak_form_regression import WeakFormRegression
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.quantities import Parameter
from warp_phys.systems.model.system import System

# Least values for each unknown that a shortened record must hold.
_VALUES_PER_UNKNOWN = 2
_PARTS = (0.125, 0.25, 0.5)


def middle_start(problem: FitProblem) -> Tensor:
    """Return (N, D): parameters in the middle of their ranges, states as first observed."""
    return torch.stack([_middle(problem, entry) for entry in problem.unknowns.entries], dim=1)


def _middle(problem: FitProblem, entry: Unknown) -> Tensor:
    default = torch.full((len(problem),), entry.middle(), dtype=torch.float64)
    if entry.kind == "parameter":
        return default
    first = _first_observed(problem, entry)
    return torch.where(first.isfinite(), entry.coordinate(first.nan_to_num(1.0)), default)


def _first_observed(problem: FitProblem, entry: Unknown) -> Tensor:
    """Return (N,), the first value of the output that is this state; NaN where there is none."""
    system, records = problem.system, problem.records
    nothing = torch.full((len(problem),), torch.nan, dtype=torch.float64)
    if not system.observes_all_states:
        return nothing
    name = system.output_names[entry.index]
    if name not in records.outputs:
        return nothing
    values = records.observed[..., records.outputs.index(name)]
    place = values.isfinite().long().argmax(dim=1)
    first = values.gather(1, place.unsqueeze(1)).squeeze(1)
    if records.doses is not None:
        first = first - records.doses.rise_at(system, problem.start)[:, entry.index]
    if entry.support == "positive":
        # A count of zero, or noise below it, still starts from something.
        greatest = values.nan_to_num(0.0).amax(dim=1)
        first = torch.where(first > 0.0, first, 1e-2 * greatest)
        first = torch.where(first > 0.0, first, torch.nan)
    return first


def regression_start(problem: FitProblem) -> Tensor | None:
    """Return (N, D) from the regression head, None where the system has none."""
    system, records = problem.system, problem.records
    if problem.fine is not None or any(entry.between == "held" for entry in system.inputs):
        return None  # its integrals know of inputs that are linear between the samples alone
    complete = set(records.outputs) == set(system.output_names) and system.observes_all_states
    if system.affine_form is None or not complete or problem.unknowns.shared:
        return None
    order = [records.outputs.index(name) for name in system.output_names]
    ordered = replace(records, observed=records.observed[..., order], outputs=system.output_names)
    known = problem.unknowns.parameters
    regression = WeakFormRegression(_as_fitted(problem), forgetting=1.0, known=known)
    last = (problem.counts - 1).view(-1, 1, 1)
    coordinates = regression.estimate(ordered)
    found = coordinates.gather(1, last.expand(-1, 1, coordinates.shape[2])).squeeze(1)
    parameters = regression.system.parameters_from_coordinates(found.T, known.T).T
    z = middle_start(problem)
    for place, entry in enumerate(problem.unknowns.entries):
        if entry.kind == "parameter":
            value = parameters[:, entry.index]
            usable = value.isfinite() & (entry.inside(value) == value)
            z[:, place] = torch.where(usable, entry.coordinate(value.nan_to_num(1.0)), z[:, place])
    return z


def _as_fitted(problem: FitProblem) -> System:
    """Return the system with the parameters that the fit holds fixed declared as known."""
    system = problem.system
    free = {entry.index for entry in problem.unknowns.entries if entry.kind == "parameter"}
    # Only that they are known counts here: the values of each trajectory go to the head.
    known = {
        parameter.name: _some_value(parameter)
        for place, parameter in enumerate(system.parameters)
        if place not in free
    }
    return type(system)(**(system.options | known))


def _some_value(parameter: Parameter) -> float:
    if parameter.fixed is not None:
        return parameter.fixed
    if parameter.range is None:
        raise UsageError(f"parameter {parameter.name!r} has neither a value nor a range")
    return 0.5 * sum(parameter.range)


def spread_starts(problem: FitProblem, count: int) -> Tensor:
    """Return (count, N, D), points of a Sobol sequence over the usual ranges.

    They are the same for every trajectory, so that none depends on its batch; states that are
    observed start where they were first seen.
    """
    entries = problem.unknowns.entries
    engine = torch.quasirandom.SobolEngine(max(len(entries), 1), scramble=True, seed=0)
    points = engine.draw(count, dtype=torch.float64)
    z = middle_start(problem).unsqueeze(0).repeat(count, 1, 1)
    for place, entry in enumerate(entries):
        hidden = torch.ones(len(problem), dtype=torch.bool)
        if entry.kind == "initial_state":
            hidden = ~_first_observed(problem, entry).isfinite()
        drawn = entry.middle() + entry.spread() * (2.0 * points[:, place, None] - 1.0)
        z[:, :, place] = torch.where(hidden, drawn, z[:, :, place])
    return z


def shortened(problem: FitProblem, rows: Tensor) -> list[Tensor]:
    """Return sample limits (L,) of ever longer beginnings of the records, without the whole.

    Over a short beginning, an oscillation stays in phase with a start whose frequency is off, and
    each fit brings the next, longer beginning within reach.
    """
    counts = problem.counts[rows]
    values = problem.records.seen.sum(dim=2)
    needed = _VALUES_PER_UNKNOWN * len(problem.unknowns)
    enough = (values.cumsum(dim=1) < needed).sum(dim=1)[rows] + 1
    # All of them for every lane, so that what a trajectory goes through is its own affair.
    return [(counts * part).ceil().long().maximum(enough).minimum(counts) for part in _PARTS]
