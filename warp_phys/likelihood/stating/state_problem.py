"""The statement of a likelihood problem, in which every argument is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from warp_phys.likelihood.grid import fine_grid
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.stating.choose_unknowns import choose_unknowns
from warp_phys.likelihood.stating.initial_state import (
    initial_times,
    known_states,
    without_given,
)
from warp_phys.likelihood.stating.known_values import known_parameters
from warp_phys.likelihood.stating.noise_arguments import noise_model, noise_weights
from warp_phys.likelihood.stating.sharing import groups_of, shared_names
from warp_phys.likelihood.unknowns import Unknowns
from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.noise import Noise


def state_problem(
    system: System,
    records: Records,
    *,
    distribution: Noise | str,
    loss: str,
    noise_sd: Any,
    initial_state: Any,
    initial_time: Any,
    fixed: Mapping[str, Any] | None,
    bounds: Mapping[str, Any] | None,
    shared: Sequence[str] | None,
    group: Any,
    rtol: float,
) -> FitProblem:
    """Check the arguments, which have the meaning they have in `fit`, and return their problem.

    Args:
        system: The system.
        records: The records of N trajectories.
        distribution: A noise model or its name.
        loss: "linear" or "huber".
        noise_sd: "each", "common" or known levels by output, (N,) or (N, T), or as an array.
        initial_state: "auto", "first_sample", "estimate", or known states by name.
        initial_time: One number or (N,); None for the time of the first sample.
        fixed: Known parameters by name, one number or (N,) each.
        bounds: (low, high) by parameter or state.
        shared: Names of the parameters that the trajectories of a group share.
        group: (N,) labels, or the name of a group in the records; None for one group of all.
        rtol: Relative tolerance of the integration.

    Raises:
        UsageError: An argument is invalid, or nothing is unknown.
        UnknownNameError: A parameter, state, output, noise model or loss does not exist.
    """
    noise = noise_model(distribution, loss)
    parameters, known = known_parameters(system, records, fixed)
    states, given = known_states(system, records, initial_state)
    common = shared_names(system, shared, known)
    entries = choose_unknowns(system, known, given, common, bounds)
    if not entries:
        raise UsageError(
            f"nothing is left to fit: every parameter and initial state of {system.name} is known"
        )
    records = without_given(records, initial_state)
    kind, weights = noise_weights(noise, records, noise_sd)
    start = initial_times(records, initial_time)
    if records.doses is not None:
        records.doses.check_start(start, records.labels)
    return FitProblem(
        system=system,
        records=records,
        start=start,
        unknowns=Unknowns(entries, parameters, states),
        group=groups_of(records, common, group),
        noise=kind,
        weights=weights,
        distribution=noise,
        rtol=rtol,
        fine=fine_grid(system, records, start, weights),
    )
