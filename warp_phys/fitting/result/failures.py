"""Sentences on fits that failed: what failed, and at which time and state.

They speak of the computation alone. What the data determine is known only at an optimum.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from warp_phys.fitting.endings import without_slope
from warp_phys.fitting.solved import Solved
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.optimum import Outcome
from warp_phys.models.coordinates import implied_initial_state
from warp_phys.systems.dynamics.integrate import integrate
from warp_phys.systems.dynamics.problem import Status

# Failed integrations are repeated for so many trajectories at most; the others get a sentence
# without time and state.
_REPEATED = 8
# Points at which a repeated integration is looked at, and steps after which it is given up.
_POINTS, _MAX_STEPS = 129, 20_000
# Unknowns whose values a sentence names.
_NAMED = 4


def failure_words(problem: FitProblem, solved: Solved) -> list[str]:
    """Return a sentence for each trajectory whose fit failed, empty for the others."""
    flat = without_slope(problem, solved)
    words = [
        _words(Outcome(outcome), count, stuck)
        for outcome, count, stuck in zip(
            solved.outcome.tolist(), solved.iterations.tolist(), flat.tolist(), strict=True
        )
    ]
    rows = (solved.outcome == Outcome.DIVERGED).nonzero()[:, 0][:_REPEATED]
    if rows.numel():
        chosen = problem.select(rows)
        found = _integration_words(chosen, solved.z[rows], solved.sums.status[rows].tolist())
        for row, text in zip(rows.tolist(), found, strict=True):
            words[row] = text
    return words


def _words(outcome: Outcome, iterations: int, flat: bool) -> str:
    plural = "" if iterations == 1 else "s"
    return {
        Outcome.DIVERGED: "the model could not be integrated along the record",
        Outcome.STALLED: "the objective is flat: the predictions depend on no unknown at this point"
        if flat
        else "no step lowers the objective any further, though this is no optimum",
        Outcome.OUT_OF_TIME: f"the time budget ended after {iterations} iteration{plural}",
        Outcome.RUNNING: "the time budget ended before the first iteration",
        Outcome.SURPASSED: "each time the fit had converged, a profile of its intervals found a "
        "lower objective: there may be no single optimum",
        Outcome.OUT_OF_ITERATIONS: f"the fit was still moving after {iterations} iteration{plural}",
    }.get(outcome, "")


def unusable_words(problem: FitProblem) -> list[str]:
    """Return a sentence for each trajectory that cannot be fitted because of its data."""
    records, unknowns = problem.records, problem.unknowns
    impossible = problem.distribution.impossible(records.observed) & records.seen
    own = unknowns.estimated()[:, unknowns.shared :].sum(dim=1).tolist()
    inputs = ~records.inputs.isfinite().all(dim=2) & records.valid[:, : records.inputs.shape[1]]
    words = []
    for row in range(len(problem)):
        seen = int(records.seen[row].sum())
        if not seen:
            text = "there is not a single measured value"
        elif impossible[row].any():
            sample, output = impossible[row].nonzero()[0].tolist()
            text = (
                f"{records.outputs[output]} is {float(records.observed[row, sample, output]):g} at "
                f"{_at(problem, records.times[row, sample])}, which {problem.distribution.label} "
                "noise rules out"
            )
        elif not unknowns.parameters[row].isfinite().all():
            place = int((~unknowns.parameters[row].isfinite()).nonzero()[0])
            text = f"the known value of {problem.system.parameter_names[place]} is not a number"
        elif not unknowns.initial_state[row].isfinite().all():
            place = int((~unknowns.initial_state[row].isfinite()).nonzero()[0])
            text = f"the known value of {problem.system.state_names[place]}(0) is not a number"
        elif records.inputs.shape[2] and inputs[row].any():
            text = "a known input is not a number at some sample"
        else:
            text = f"there are {seen} values for {own[row]} unknowns"
        words.append(text)
    return words


def _integration_words(problem: FitProblem, z: Tensor, codes: list[int]) -> list[str]:
    """Integrate once more, on a finer and finer grid, and say where that ends."""
    rows = torch.arange(len(problem))
    table, initial = problem.unknowns.physical(z, rows)
    parameters = table[:, : problem.unknowns.of_system]
    if problem.system.has_initial_state:
        initial = implied_initial_state(problem.system, parameters)
    last = problem.records.times.nan_to_num(-torch.inf).amax(dim=1)
    begin = problem.start.clone()
    found: list[str] = []
    for _ in range(2):
        grid = _grid(begin, last)
        solution = integrate(
            problem.system,
            grid,
            initial,
            parameters,
            **_forcing(problem),
            initial_time=problem.start,
            rtol=max(problem.rtol, 1e-8),
            max_steps=_MAX_STEPS,
        )
        reached = solution.states.isfinite().all(dim=2).sum(dim=1).clamp_min(1) - 1
        complete = reached == grid.shape[1] - 1
        # The second round looks closely between the last point reached and the next.
        following = (reached + 1).clamp_max(grid.shape[1] - 1)
        begin, last = grid[rows, reached], torch.where(complete, last, grid[rows, following])
    for row in rows.tolist():
        if bool(complete[row]):
            text = _complete(problem, codes[row])
        else:
            states = solution.states[row, : int(reached[row]) + 1]
            text = _ended(problem, states, begin[row], int(solution.status[row]))
        found.append(f"{text}, {_values(problem, z[row])}")
    return found


def _grid(begin: Tensor, last: Tensor) -> Tensor:
    """Return points (n, K) from the beginnings to the ends."""
    share = torch.linspace(0.0, 1.0, _POINTS, dtype=begin.dtype)
    # A record with one sample at its initial time still has points after it.
    length = torch.where(last > begin, last - begin, 1e-9 * begin.abs().clamp_min(1.0))
    return begin.unsqueeze(1) + length.unsqueeze(1) * share


def _forcing(problem: FitProblem) -> dict[str, Any]:
    records = problem.records
    forcing: dict[str, Any] = {}
    if problem.system.inputs:
        table = records.table
        forcing["inputs"] = records.inputs if table is None else table.values
        forcing["input_times"] = records.times if table is None else table.times
    if records.doses is not None:
        forcing["doses"] = records.doses.as_sequence()
    return forcing


def _complete(problem: FitProblem, code: int) -> str:
    """Say why a fit failed whose model can be integrated to the end."""
    if code == Status.TOO_MANY_EVENTS:
        return "events followed each other without end"
    if code == Status.TOO_MANY_STEPS:
        return f"the integration took more than {problem.max_steps} steps"
    return (
        "the model can be integrated, but its predictions, or their derivatives by the unknowns, "
        f"have no finite likelihood under {problem.distribution.label} noise"
    )


def _ended(problem: FitProblem, states: Tensor, time: Tensor, code: int) -> str:
    """Say at which time and in which state an integration ended; states (K, S) were reached."""
    end, before = states[-1], states[: max(len(states) // 2, 1)]
    # The state that has grown the most relative to its own size earlier on.
    growth = end.abs() / before.abs().amax(dim=0).clamp_min(1e-300)
    place = int(growth.nan_to_num(torch.inf).argmax())
    where = (
        f"{_at(problem, time)}, where {problem.system.state_names[place]} = {float(end[place]):.4g}"
    )
    if code == Status.TOO_MANY_EVENTS:
        return f"events followed each other without end after {where}"
    if code == Status.TOO_MANY_STEPS:
        return f"the integration took more than {_MAX_STEPS} steps and did not get beyond {where}"
    return f"the integration left the finite numbers after {where}"


def _at(problem: FitProblem, time: Tensor) -> str:
    unit = problem.records.time_unit or problem.system.time_unit
    return f"time {float(time):.6g}" + ("" if unit in ("", "1") else f" {unit}")


def _values(problem: FitProblem, z: Tensor) -> str:
    """Return the values of the first unknowns, at which it failed."""
    values = problem.unknowns.values(z.unsqueeze(0))[0].tolist()
    pairs = [
        f"{name} = {value:.4g}" for name, value in zip(problem.unknowns.labels, values, strict=True)
    ]
    more = ", ..." if len(pairs) > _NAMED else ""
    return f"started at {', '.join(pairs[:_NAMED])}{more}"
