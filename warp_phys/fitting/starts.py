"""Starting points of fits: middles of the usual ranges, the regression head, Sobol points."""

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

# A shortened record must hold at least this many values per unknown. The parts are the beginnings,
# as shares of the samples, that a continuation fits one after the other.
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
        # A dose at the initial time is added after the initial state, and the sample shows both.
        first = first - records.doses.rise_at(system, problem.start)[:, entry.index]
    if entry.support == "positive":
        # Noise may take a positive state to zero or below, where its logarithm does not exist: one
        # per cent of the largest value then stands in for it.
        greatest = values.nan_to_num(0.0).amax(dim=1)
        first = torch.where(first > 0.0, first, 1e-2 * greatest)
        first = torch.where(first > 0.0, first, torch.nan)
    return first


def regression_start(problem: FitProblem) -> Tensor | None:
    """Return (N, D) from the regression head, None where the system has none."""
    system, records = problem.system, problem.records
    if problem.fine is not None or any(entry.between == "held" for entry in system.inputs):
        return None  # the weak form integrates inputs that are linear between samples
    complete = set(records.outputs) == set(system.output_names) and system.observes_all_states
    if system.affine_form is None or not complete or problem.unknowns.shared:
        return None
    order = [records.outputs.index(name) for name in system.output_names]
    ordered = replace(records, observed=records.observed[..., order], outputs=system.output_names)
    known = problem.unknowns.parameters
    regression = WeakFormRegression(_as_fitted(problem), forgetting=1.0, known=known)
    # The running estimate at the last sample uses the whole record, without forgetting.
    last = (problem.counts - 1).view(-1, 1, 1)
    coordinates = regression.estimate(ordered)
    found = coordinates.gather(1, last.expand(-1, 1, coordinates.shape[2])).squeeze(1)
    parameters = regression.system.parameters_from_coordinates(found.T, known.T).T
    z = middle_start(problem)
    for place, entry in enumerate(problem.unknowns.entries):
        if entry.kind == "parameter":
            value = parameters[:, entry.index]
            # The regression is unconstrained: an estimate outside the support or the bounds is
            # dropped in favor of the middle of the range.
            usable = value.isfinite() & (entry.inside(value) == value)
            z[:, place] = torch.where(usable, entry.coordinate(value.nan_to_num(1.0)), z[:, place])
    return z


def _as_fitted(problem: FitProblem) -> System:
    """Return the system with the parameters that the fit holds fixed declared as known."""
    system = problem.system
    free = {entry.index for entry in problem.unknowns.entries if entry.kind == "parameter"}
    # This only declares them as known; the regression gets the values of each trajectory
    # separately.
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
            hidden = ~_first_observed(problem, entry).isfinite()
        # Uniform on the real line between the ends of the usual range: log-uniform if positive.
        drawn = entry.middle() + entry.spread() * (2.0 * points[:, place, None] - 1.0)
        z[:, :, place] = torch.where(hidden, drawn, z[:, :, place])
    return z


def shortened(problem: FitProblem, rows: Tensor) -> list[Tensor]:
    """Return sample limits (L,) of longer and longer beginnings of the records, without the whole.

    Over a short beginning, an oscillation stays in phase with a start whose frequency is off, and
    each fit brings the next, longer beginning within reach.
    """
    counts = problem.counts[rows]
    values = problem.records.seen.sum(dim=2)
    needed = _VALUES_PER_UNKNOWN * len(problem.unknowns)
    # The first sample by which enough values were observed: fewer than unknowns would leave the fit
    # of the beginning underdetermined.
    enough = (values.cumsum(dim=1) < needed).sum(dim=1)[rows] + 1
    # Every lane gets all three, even if two are equal, so that no trajectory depends on its batch.
    return [(counts * part).ceil().long().maximum(enough).minimum(counts) for part in _PARTS]
