"""The values of a fit, collected block by block as plain tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.fitting.objective import gradient, likely_levels, log_prior
from warp_phys.fitting.outliers.find import Outliers, outlier_words
from warp_phys.fitting.result.chi_square import chi_square, comparable
from warp_phys.fitting.result.derived_errors import derived_values
from warp_phys.fitting.result.failures import failure_words
from warp_phys.fitting.result.noise_values import noise_parameter_names, noise_sd, noise_values
from warp_phys.fitting.solved import Solved
from warp_phys.fitting.uncertainty.covariance import Uncertainty
from warp_phys.fitting.uncertainty.identifiability import undetermined_words
from warp_phys.fitting.uncertainty.intervals import Intervals
from warp_phys.likelihood.density import log_density
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.residual_checks import misfit
from warp_phys.minimizing.optimum import Outcome
from warp_phys.models.coordinates import implied_initial_state
from warp_phys.systems.schema.flags import FitStatus

_FROM_OUTCOME = {
    Outcome.CONVERGED: FitStatus.CONVERGED,
    Outcome.SURPASSED: FitStatus.ITERATION_LIMIT,
    Outcome.RUNNING: FitStatus.OUT_OF_TIME,
    Outcome.DIVERGED: FitStatus.DIVERGED,
    Outcome.STALLED: FitStatus.STALLED,
    Outcome.OUT_OF_TIME: FitStatus.OUT_OF_TIME,
    Outcome.OUT_OF_ITERATIONS: FitStatus.ITERATION_LIMIT,
    Outcome.EVALUATED: FitStatus.EVALUATED,
}


_OF_NOISE = (
    "noise_parameters",
    "noise_parameters_standard_errors",
    "noise_parameters_lower",
    "noise_parameters_upper",
)


@dataclass(frozen=True)
class Fits:
    """The values found for N trajectories, by variable name; NaN where nothing was found.

    Attributes:
        status: (N,), values of `FitStatus`.
        values: Tensors (N, ...) by variable name.
        words: (N,), sentences on what the data do not determine.
        failures: (N,), sentences on what failed.
        outliers: (N,), sentences on values far from the prediction.
    """

    status: Tensor
    values: dict[str, Tensor]
    words: list[str]
    failures: list[str]
    outliers: list[str]

    @classmethod
    def empty(cls, problem: FitProblem) -> Fits:
        """Return empty values for all trajectories."""
        records, system = problem.records, problem.system
        count, length, outputs = records.observed.shape
        parameters, states, size = len(system.parameters), len(system.states), len(problem.unknowns)

        def nothing(*shape: int) -> Tensor:
            return torch.full((count, *shape), torch.nan, dtype=torch.float64)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(count, *shape, dtype=torch.int64)

        values = {
            "parameters": nothing(parameters),
            "standard_errors": nothing(parameters),
            "parameters_lower": nothing(parameters),
            "parameters_upper": nothing(parameters),
            "profiled": zeros(parameters),
            "identifiable": zeros(parameters) - 1,
            "on_bound": zeros(parameters),
            "initial_state": nothing(states),
            "initial_state_standard_errors": nothing(states),
            "initial_state_lower": nothing(states),
            "initial_state_upper": nothing(states),
            "covariance": nothing(size, size),
            "information": nothing(size, size),
            "predicted": nothing(length, outputs),
            "noise_sd": nothing(outputs),
            "value_count": zeros(),
            "degrees_of_freedom": nothing(),
            "sum_of_squares": nothing(),
            "log_likelihood": nothing(),
            "log_prior": nothing(),
            "reduced_chi_square": nothing(),
            "autocorrelation": nothing(outputs),
            "misfit": zeros(),
            "outlier_sample": zeros() - 1,
            "iterations": zeros(),
            "starts": zeros(),
            "starts_agreeing": zeros(),
            "optima": zeros(),
            "search": zeros(),
            "gradient": nothing(size),
        }
        if problem.prior is None:
            del values["log_prior"]
        own = len(noise_parameter_names(problem))
        for name in _OF_NOISE if own else ():
            values[name] = nothing(own)
        if problem.noise != "known" or problem.own is not None:
            del values["reduced_chi_square"]
        return cls(zeros(), values, *([""] * count for _ in range(3)))

    def write(
        self,
        rows: Tensor,
        part: FitProblem,
        solved: Solved,
        known: Uncertainty,
        ends: Intervals,
        outliers: Outliers,
    ) -> None:
        """Write the results of a block into its rows."""
        status = torch.tensor([int(_FROM_OUTCOME[Outcome(o)]) for o in solved.outcome.tolist()])
        status[_restless(part, solved)] = int(FitStatus.NO_STEADY_STATE)
        self.status[rows] = status
        for name, value in _values(part, solved, known, ends, outliers).items():
            self.values[name][rows] = value.to(self.values[name].dtype)
        at_end = solved.frozen & part.unknowns.estimated()
        words = undetermined_words(part.unknowns.entries, known.directions, at_end)
        good = (solved.outcome == Outcome.CONVERGED).tolist()
        failures, far = failure_words(part, solved), outlier_words(part, outliers)
        for place, row in enumerate(rows.tolist()):
            # Away from an optimum nothing is known about what the data determine.
            self.words[row] = words[place] if good[place] else ""
            self.failures[row], self.outliers[row] = failures[place], far[place]


def _restless(problem: FitProblem, solved: Solved) -> Tensor:
    """Return the trajectories (k,) that failed because they have no steady state to start from."""
    derived = problem.unknowns.derived
    if derived is None or derived.steady is None:
        return torch.zeros(0, dtype=torch.int64)
    rows = (solved.outcome == Outcome.DIVERGED).nonzero()[:, 0]
    _, states = problem.unknowns.physical(solved.z[rows], rows)
    return rows[~states.isfinite().all(dim=1)]


def _values(
    problem: FitProblem, solved: Solved, known: Uncertainty, ends: Intervals, outliers: Outliers
) -> dict[str, Tensor]:
    """Return the variables of a block."""
    table, states = problem.unknowns.physical(solved.z, torch.arange(len(problem)))
    parameters = table[:, : problem.unknowns.of_system]
    if problem.system.has_initial_state:
        states = implied_initial_state(problem.system, parameters)
    residuals = problem.residuals(solved.predicted)
    values = {
        "parameters": parameters,
        "initial_state": states,
        "covariance": known.covariance,
        "information": known.information,
        "predicted": solved.predicted,
        "noise_sd": noise_sd(problem, solved, known),
        "value_count": solved.sums.counted.sum(dim=1),
        "degrees_of_freedom": known.freedom,
        "sum_of_squares": residuals.square().nansum(dim=(1, 2)),
        "log_likelihood": _log_likelihood(problem, solved, known),
        **({} if problem.prior is None else {"log_prior": log_prior(problem, solved.z)}),
        "autocorrelation": solved.correlation,
        "misfit": misfit(
            solved.patterned,
            _scarce(problem, solved),
            outliers.found,
            *comparable(problem, solved),
        ),
        "outlier_sample": outliers.sample,
        "iterations": solved.iterations,
        "starts": solved.tried,
        "starts_agreeing": solved.agreeing,
        "optima": solved.optima,
        "search": _search(solved),
        "gradient": gradient(problem, solved),
    }
    if problem.noise == "known" and problem.own is None:
        total, free = chi_square(problem, solved)
        # About 1 for a good model with the right noise levels.
        values["reduced_chi_square"] = torch.where(free > 0.0, total / free, torch.nan)
    values |= _errors(problem, parameters, states, known, ends)
    values |= noise_values(problem, solved, known, ends)
    failed = solved.outcome == Outcome.DIVERGED
    for name, value in values.items():
        # A failed integration leaves the coordinates of its last try, which are no result.
        if value.is_floating_point() and name != "predicted":
            value[failed] = torch.nan
    converged = (solved.outcome == Outcome.CONVERGED).unsqueeze(1)
    determined = torch.where(converged, known.determined.long(), -1)
    values["identifiable"] = _placed(problem, "parameter", parameters, determined, 1.0)
    values["on_bound"] = _placed(problem, "parameter", parameters, solved.frozen, 0.0)
    values["profiled"] = _placed(problem, "parameter", parameters, ends.profiled, 0.0)
    derived = derived_values(problem, solved.z, table, states, known)
    for name, (places, columns) in derived.items():
        values[name][:, places] = columns
    return values


def _search(solved: Solved) -> Tensor:
    """Return (N,) the bits of `warp_phys.systems.schema.flags.SEARCH` that are set."""
    once = (solved.tried > 1) & (solved.agreeing == 1)
    return 1 * once.long() + 2 * (solved.optima > 1).long()


def _errors(
    problem: FitProblem, parameters: Tensor, states: Tensor, known: Uncertainty, ends: Intervals
) -> dict[str, Tensor]:
    """Return the standard errors and intervals of parameters (N, P) and initial states (N, S)."""
    errors = known.covariance.diagonal(dim1=1, dim2=2).clamp_min(0.0).sqrt()
    values: dict[str, Tensor] = {}
    for kind, prefix in (("parameter", "parameters"), ("initial_state", "initial_state")):
        table = parameters if kind == "parameter" else states
        errors_name = "standard_errors" if kind == "parameter" else f"{prefix}_standard_errors"
        values |= {
            errors_name: _placed(problem, kind, table, errors, 0.0),
            f"{prefix}_lower": _placed(problem, kind, table, ends.lower, None),
            f"{prefix}_upper": _placed(problem, kind, table, ends.upper, None),
        }
    if problem.system.has_initial_state:
        implied = _implied_errors(problem, parameters, known.covariance)
        values["initial_state_standard_errors"] = implied
    return values


def _placed(
    problem: FitProblem, kind: str, table: Tensor, columns: Tensor, rest: float | None
) -> Tensor:
    """Scatter the columns of unknowns; known quantities get `rest`, or their value if None."""
    placed = table.clone() if rest is None else torch.full_like(table, rest)
    if kind == "initial_state" and problem.system.has_initial_state:
        placed = torch.full_like(table, torch.nan)
    estimated = problem.unknowns.estimated()
    for place, entry in enumerate(problem.unknowns.entries):
        if entry.kind == kind:
            value, here = columns[:, place].to(placed.dtype), estimated[:, place]
            placed[:, entry.index] = torch.where(here, value, placed[:, entry.index])
    return placed


def _implied_errors(problem: FitProblem, parameters: Tensor, covariance: Tensor) -> Tensor:
    """Return the standard errors (N, S) of initial states that follow from the parameters."""
    rows = []
    for entry in problem.unknowns.entries:
        along = torch.zeros_like(parameters)
        if entry.kind == "parameter":
            along[:, entry.index] = 1.0
        pair = torch.func.jvp(
            lambda p: implied_initial_state(problem.system, p), (parameters,), (along,)
        )
        rows.append(pair[1])
    # The delta method: var y_s = sum_de (dy_s/dtheta_d) C_de (dy_s/dtheta_e).
    slopes = torch.stack(rows)
    variance = torch.einsum("dns,nde,ens->ns", slopes, covariance, slopes)
    return variance.clamp_min(0.0).sqrt()


def _scarce(problem: FitProblem, solved: Solved) -> Tensor:
    """Return (N,): whether an output with its own level has so few values to be fitted exactly."""
    if problem.noise != "each" or problem.unknowns.shared or len(problem.records.outputs) == 1:
        return torch.zeros(len(problem), dtype=torch.bool)
    counted = solved.sums.counted
    estimated = problem.unknowns.estimated().sum(dim=1, keepdim=True)
    return ((counted > 0) & (counted < 2 * estimated)).any(dim=1)


def _log_likelihood(problem: FitProblem, solved: Solved, known: Uncertainty) -> Tensor:
    """Return the log likelihood (N,) at the noise levels of maximum likelihood.

    It is NaN where a value was observed that the model does not predict, as it failed.
    """
    level = _level(problem, solved, known)
    density = log_density(problem, solved.z, solved.predicted, level)
    unpredicted = (problem.records.seen & solved.predicted.isnan()).any(dim=(1, 2))
    total = density.nan_to_num(nan=0.0).sum(dim=(1, 2))
    return torch.where(unpredicted, torch.nan, total)


def _level(problem: FitProblem, solved: Solved, known: Uncertainty) -> Tensor:
    """Return the level (N, T, O) or (N, 1, O) of maximum likelihood, or the known one."""
    if problem.weights is not None:
        return problem.weights.rsqrt()
    if problem.noise == "known":
        return torch.ones_like(known.noise_variance).unsqueeze(1)
    if not problem.is_squared:
        return likely_levels(problem, solved.predicted)
    # The reported variance has n - p degrees of freedom; the likelihood is maximal at Q / n.
    shrink = ((known.values - known.estimated) / known.values).view(-1, 1, 1)
    return (known.noise_variance.unsqueeze(1) * shrink).sqrt()
