"""The statement of a likelihood problem, in which every argument is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from warp_phys.likelihood.derived import Derived
from warp_phys.likelihood.grid import fine_grid
from warp_phys.likelihood.own_noise import own_noise
from warp_phys.likelihood.prior import Joint, Prior
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.stating.choose_unknowns import choose_unknowns
from warp_phys.likelihood.stating.initial_state import (
    initial_times,
    known_states,
    without_given,
)
from warp_phys.likelihood.stating.known_values import known_parameters
from warp_phys.likelihood.stating.noise_arguments import (
    check_limits,
    has_levels,
    is_joint,
    noise_model,
    noise_weights,
)
from warp_phys.likelihood.stating.priors import Priors, read_priors
from warp_phys.likelihood.stating.sharing import Shared, connected, shared_places, sharing
from warp_phys.likelihood.stating.steady_start import steady_start
from warp_phys.likelihood.ties import read_ties
from warp_phys.likelihood.unknown import Unknown
from warp_phys.likelihood.unknowns import Unknowns
from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.free_start import with_free_start
from warp_phys.systems.model.supports import bounds as bounds_of
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.by_output import noise_for
from warp_phys.systems.noise.noise import Noise


def state_problem(
    system: System,
    records: Records,
    *,
    distribution: Noise | str | Mapping[str, Any],
    loss: str,
    noise_sd: Any,
    initial_state: Any,
    initial_time: Any,
    fixed: Mapping[str, Any] | None,
    bounds: Mapping[str, Any] | None,
    shared: Shared,
    group: Any,
    rtol: float,
    ties: Mapping[str, Any] | None = None,
    mixed: bool = False,
    priors: Priors = None,
) -> FitProblem:
    """Check the arguments, which have the meaning they have in `fit`, and return their problem.

    Args:
        system: The system.
        records: The records of N trajectories.
        distribution: A noise model or its name, or a mapping from output to these.
        loss: "linear" or "huber".
        noise_sd: "each", "common" or known levels by output, (N,) or (N, T), or as an array.
        initial_state: "auto", "first_sample", "estimate", or known states by name.
        initial_time: One number or (N,); None for the time of the first sample.
        fixed: Known parameters by name: one number, (N,), or the name of a variable of the records;
            NaN where a parameter is estimated.
        bounds: (low, high) by parameter or state.
        shared: Names of the unknowns that the trajectories of a group share, or a mapping from name
            to group, see `sharing`.
        group: (N,) labels, or the name of a variable of the records; None for one group of all.
        rtol: Relative tolerance of the integration.
        ties: Parameters that follow from others, see `read_ties`.
        mixed: Whether a quantity may be known in some trajectories and estimated in others, and
            initial states may be steady states.
        priors: Distributions of unknowns by label, or a joint log density.

    Raises:
        UsageError: An argument is invalid, or nothing is unknown.
        UnknownNameError: A parameter, state, output, noise model or loss does not exist.
    """
    noise = noise_for(noise_model(distribution, loss), records.outputs)
    parameters, known = known_parameters(system, records, fixed, mixed=mixed)
    states, given = known_states(system, records, initial_state, mixed=mixed)
    everywhere = _names(system.parameter_names, known), _names(system.state_names, given)
    labels = sharing(system, records, shared, group, everywhere[0] | everywhere[1])
    tied = read_ties(system, ties, _taken(fixed, bounds, labels))
    steady = isinstance(initial_state, str) and initial_state == "steady_state"
    if steady and system.events:
        raise UsageError(
            f'initial_state="steady_state" is a state at which nothing moves, and {system.name} '
            "has events, which may happen on the way to it; give or estimate the initial state"
        )
    integrated = with_free_start(system) if steady else system
    known_names = everywhere[0] | set(tied.names)
    entries = choose_unknowns(integrated, known_names, everywhere[1], set(labels), bounds)
    if not entries:
        raise UsageError(
            f"nothing is left to fit: every parameter and initial state of {system.name} is known"
        )
    records = without_given(records, initial_state)
    kind, weights = noise_weights(noise, records, noise_sd)
    check_limits(noise, records)
    own = None
    if is_joint(noise, records, kind) or (priors is not None and has_levels(noise, records, kind)):
        first = parameters.shape[1]
        own, unknown = own_noise(noise, records, kind, first=first, shared=bool(labels))
        entries, kind = _with_noise(entries, unknown), "known"
        more = torch.ones(len(records), len(unknown), dtype=torch.float64)
        parameters, known = torch.cat([parameters, more], dim=1), torch.cat([known, more < 0.0], 1)
    start = initial_times(records, initial_time)
    if records.doses is not None:
        records.doses.check_start(start, records.labels)
    derived = None
    if tied.names or steady:
        derived = Derived(tied, steady_start(system, records, start) if steady else None)
    prior = None
    if priors is not None:
        labeled = [*system.parameter_names, *(f"{name}(0)" for name in system.state_names)]
        entries, single, joint = read_priors(priors, entries, labeled)
    ordered = [labels[entry.name] for entry in entries if entry.shared and entry.kind != "noise"]
    connections = connected(ordered, len(records))
    # Trajectories that share anything have the same noise.
    ordered += [connections for entry in entries if entry.shared and entry.kind == "noise"]
    unknowns = Unknowns(
        entries,
        parameters,
        states,
        known=_known_in_part(records, entries, (parameters, known), (states, given)),
        places=shared_places(ordered, connections),
        derived=derived,
    )
    if priors is not None:
        prior = Prior(single, joint, _shares(unknowns, ordered))
        _check_joint(joint, unknowns)
    return FitProblem(
        system=integrated,
        records=records,
        start=start,
        unknowns=unknowns,
        group=connections,
        noise=kind,
        weights=weights,
        distribution=noise,
        rtol=rtol,
        fine=fine_grid(integrated, records, start, weights),
        own=own,
        prior=prior,
    )


def _shares(unknowns: Unknowns, ordered: Sequence[Tensor]) -> Tensor:
    """Return (N, D) one over the number of trajectories that share an unknown, 0 where known.

    Args:
        unknowns: The unknowns.
        ordered: (N,) labels of those that share each of the shared unknowns.
    """
    estimated = unknowns.estimated().double()
    share = estimated.clone()
    for place, labels in enumerate(ordered):
        count = torch.zeros(int(labels.max()) + 1, dtype=torch.float64)
        count.index_add_(0, labels, estimated[:, place])
        share[:, place] = estimated[:, place] / count[labels].clamp_min(1.0)
    return share


def _check_joint(joint: Joint | None, unknowns: Unknowns) -> None:
    """Raise UsageError if a joint log density cannot be that of the unknowns."""
    if joint is None:
        return
    if unknowns.shared or unknowns.known is not None:
        raise UsageError(
            "a joint prior is of the unknowns of one trajectory, some of which are shared or known "
            "in part here; give priors by name"
        )
    values = unknowns.values(unknowns.middles.expand(2, -1))
    found = joint(dict(zip(unknowns.labels, values.unbind(dim=1), strict=True)))
    if not isinstance(found, Tensor) or found.shape != (2,):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UsageError(
            f"expected priors(values) to return the log density of each trajectory, (2,) for two, "
            f"got {shape}"
        )


def _with_noise(entries: Sequence[Unknown], noise: Sequence[Unknown]) -> tuple[Unknown, ...]:
    """Return the unknowns with those of the noise, shared ones first."""
    return tuple(sorted([*entries, *noise], key=lambda entry: not entry.shared))


def _taken(
    fixed: Mapping[str, Any] | None, bounds: Mapping[str, Any] | None, labels: Mapping[str, Tensor]
) -> dict[str, str]:
    """Return what else has been said about parameters, by name."""
    found = dict.fromkeys(labels, "shared") | dict.fromkeys(bounds or {}, "bounded")
    return found | dict.fromkeys(fixed or {}, "fixed")


def _names(names: Sequence[str], known: Tensor) -> set[str]:
    """Return the names of the quantities that are known (N, Q) in every trajectory."""
    return {name for name, column in zip(names, known.T, strict=True) if bool(column.all())}


def _known_in_part(
    records: Records,
    entries: Sequence[Unknown],
    parameters: tuple[Tensor, Tensor],
    states: tuple[Tensor, Tensor],
) -> Tensor | None:
    """Return where unknowns are known, (N, D), None where they are nowhere.

    Args:
        records: The records.
        entries: The D unknowns.
        parameters: Values (N, P), and where they are known.
        states: The same of initial states (N, S).

    Raises:
        UsageError: A known value lies outside the bounds of the unknown.
    """
    columns = []
    for entry in entries:
        values, known = states if entry.kind == "initial_state" else parameters
        value, here = values[:, entry.index], known[:, entry.index]
        low, high = bounds_of(entry.support)
        outside = here & ((value < low) | (value > high))
        if outside.any():
            row = int(outside.nonzero()[0])
            raise UsageError(
                f"{entry.label} is known to be {float(value[row]):g} {entry.unit} in trajectory "
                f"{records.labels[row]}, outside its bounds ({low:g}, {high:g}); widen the bounds"
            )
        columns.append(here)
    found = torch.stack(columns, dim=1)
    return found if bool(found.any()) else None
