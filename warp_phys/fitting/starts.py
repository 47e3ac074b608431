"""The starts of a search, and the beginnings of records that are fitted first."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.starting_points import middle_start, spread_starts
from warp_phys.models.regression.weak_form_regression import WeakFormRegression
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.quantities import Parameter
from warp_phys.systems.model.system import System

# A shortened record must hold at least this many values per unknown. The parts are the beginnings,
# as shares of the samples, that a continuation fits one after the other.
_VALUES_PER_UNKNOWN = 2
_PARTS = (0.125, 0.25, 0.5)
# Points of the first design that are fitted without windows.
_EASY = 5


@dataclass(frozen=True)
class Starts:
    """K starts of N trajectories.

    Attributes:
        z: (K, N, D), coordinates.
        gradual: (K,), whether beginnings of the records are fitted before the whole.
        windows: (K,), whether windows of the records are fitted before that.
    """

    z: Tensor
    gradual: Tensor
    windows: Tensor

    def some(self, index: Tensor) -> Starts:
        """Return some of the starts."""
        return Starts(self.z[index], self.gradual[index], self.windows[index])

    def followed_by(self, others: Starts, count: int) -> Starts:
        """Return `count` starts: these, and as many of the others as are missing."""
        pairs = ((getattr(self, name), getattr(others, name)) for name in vars(self))
        return Starts(*(torch.cat(pair)[:count] for pair in pairs))


def informed_starts(problem: FitProblem, given: Tensor | None) -> Starts:
    """Return the starts that the caller, the data or the ranges suggest, the best informed first.

    The caller's start (N, D) was fitted to whole records already; here it is fitted gradually.
    """
    found = []
    if given is not None:
        found.append((given, True))
    elif (regression := regression_start(problem)) is not None:
        found.append((regression, False))
    found.append((middle_start(problem), bool(found)))
    gradual = torch.tensor([one for _, one in found])
    return Starts(torch.stack([z for z, _ in found]), gradual, torch.zeros_like(gradual))


def spread_out(problem: FitProblem, design: int, count: int) -> Starts:
    """Return `count` points spread over the ranges, others for every design."""
    z = spread_starts(problem, design, count)
    # Windows widen the basin and cost as much as all beginnings together; the first starts, with
    # which most searches end, go without them.
    windows = torch.arange(count) >= (_EASY if design == 0 else 0)
    return Starts(z, torch.ones(count, dtype=torch.bool), windows)


def regression_start(problem: FitProblem) -> Tensor | None:
    """Return (N, D) from the regression head, None where the system has none."""
    system, records = problem.system, problem.records
    if problem.fine is not None or any(entry.between == "held" for entry in system.inputs):
        return None  # the weak form integrates inputs that are linear between samples
    complete = set(records.outputs) == set(system.output_names) and system.observes_all_states
    if system.affine_form is None or not complete or problem.unknowns.shared:
        return None
    if problem.unknowns.derived is not None:
        return None  # the regression would take tied parameters for known ones
    order = [records.outputs.index(name) for name in system.output_names]
    observed = _with_known_state(problem, records.observed[..., order])
    ordered = replace(records, observed=observed, outputs=system.output_names)
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


def _with_known_state(problem: FitProblem, observed: Tensor) -> Tensor:
    """Fill a gap (N, T, S) at the first sample with the initial state, where it is known."""
    system, unknowns = problem.system, problem.unknowns
    if system.has_initial_state or any(entry.kind == "initial_state" for entry in unknowns.entries):
        return observed
    first = observed[:, 0]
    gap = first.isnan() & (problem.start == problem.records.times[:, 0]).unsqueeze(1)
    filled = observed.clone()
    filled[:, 0] = torch.where(gap, unknowns.initial_state, first)
    return filled


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
