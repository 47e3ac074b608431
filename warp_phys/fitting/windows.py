"""Records cut into windows that share the parameters and have initial states of their own.

A fit of windows is multiple shooting without continuity: over a short window no start gets far out
of phase, so that the fit finds the parameters from starts from which the whole record does not.

References:
    H. G. Bock, in: Modelling of Chemical Reaction Systems, Springer Series in Chemical Physics 18
    (1981) 102-125, doi:10.1007/978-3-642-68220-9_8.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.starting_points import from_observed_states
from warp_phys.likelihood.stating.choose_unknowns import choose_unknowns
from warp_phys.likelihood.unknown import Unknown
from warp_phys.likelihood.unknowns import Unknowns

# Windows of a record, and samples that a record must have to be cut into them.
WINDOWS = 8
_SAMPLES = 2 * WINDOWS + 1


def can_be_cut(problem: FitProblem) -> bool:
    """Return whether later parts of the records are records of the same problem."""
    entries = problem.unknowns.entries
    unknowns = problem.unknowns
    free = not unknowns.shared and unknowns.derived is None and unknowns.known is None
    free = free and not problem.system.has_initial_state and not problem.system.increments
    # What an event left behind may not be seen in the states of a window's first sample.
    free = free and not problem.system.events and problem.records.doses is None
    common = any(entry.kind == "parameter" for entry in entries)
    return free and common and problem.fine is None and problem.jumps is None


def is_long(problem: FitProblem) -> Tensor:
    """Return (N,): which records are long enough to be cut."""
    return problem.counts >= _SAMPLES


def windows_of(problem: FitProblem) -> FitProblem:
    """Return the problem of the windows, those of a record one after the other and as a group."""
    records = problem.records
    # Neighboring windows have a sample in common.
    ends = torch.arange(WINDOWS + 1) * (problem.counts - 1).unsqueeze(1) // WINDOWS
    first, last = ends[:, :-1].reshape(-1, 1), ends[:, 1:].reshape(-1, 1)
    longest = int((last - first).max()) + 1
    place = first + torch.arange(longest)
    inside = (place <= last).unsqueeze(2)
    place = place.clamp_max(records.times.shape[1] - 1).view(len(problem), -1, 1)

    def cut(values: Tensor, rest: float) -> Tensor:
        found = values.gather(1, place.expand(-1, -1, values.shape[2]))
        return torch.where(inside, found.view(*inside.shape[:1], longest, values.shape[2]), rest)

    times = cut(records.times.unsqueeze(2), torch.nan).squeeze(2)
    rows = torch.arange(len(problem)).repeat_interleave(WINDOWS)
    unknowns = Unknowns(
        _entries(problem),
        problem.unknowns.parameters[rows],
        problem.unknowns.initial_state[rows].nan_to_num(0.0),
    )
    return replace(
        problem,
        records=replace(
            records.select(rows),
            observed=cut(records.observed, torch.nan),
            times=times,
            inputs=cut(records.inputs, torch.nan),
        ),
        start=times[:, 0].clone(),
        unknowns=unknowns,
        group=rows,
        weights=None if problem.weights is None else cut(problem.weights, 1.0),
    )


def _entries(problem: FitProblem) -> tuple[Unknown, ...]:
    entries = problem.unknowns.entries
    system = problem.system
    own = {entry.name: entry for entry in entries if entry.kind == "initial_state"}
    usual = choose_unknowns(system, set(system.parameter_names), set(), set(), None)
    parameters = [replace(entry, shared=True) for entry in entries if entry.kind == "parameter"]
    return (*parameters, *(own.get(entry.name, entry) for entry in usual))


def to_windows(problem: FitProblem, windows: FitProblem, z: Tensor) -> Tensor:
    """Return the starts (K, N * WINDOWS, D') of windows for starts z (K, N, D) of records."""
    places = {entry.label: place for place, entry in enumerate(problem.unknowns.entries)}
    columns = [
        z[:, :, places[entry.label]]
        if entry.label in places
        else torch.full(z.shape[:2], entry.middle(), dtype=z.dtype)
        for entry in windows.unknowns.entries
    ]
    wide = torch.stack(columns, dim=2).repeat_interleave(WINDOWS, dim=1)
    return from_observed_states(windows, wide)


def from_windows(problem: FitProblem, windows: FitProblem, found: Tensor) -> Tensor:
    """Return the coordinates (K, N, D) that fits of windows (K, N * WINDOWS, D') found."""
    places = {entry.label: place for place, entry in enumerate(windows.unknowns.entries)}
    chosen = torch.tensor([places[entry.label] for entry in problem.unknowns.entries])
    # The first window of a record begins as the record does.
    return found[:, ::WINDOWS, chosen]
