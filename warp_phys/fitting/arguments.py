"""Checks of the options of `fit`, and their conversion into a `FitProblem`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.fitting.choose_unknowns import as_mapping, choose_unknowns
from warp_phys.fitting.noise_arguments import noise_model, noise_weights
from warp_phys.fitting.options import FitOptions
from warp_phys.likelihood.grid import fine_grid
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.unknowns import Unknowns
from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.supports import contains, describe
from warp_phys.systems.model.system import System


def build_fit(system: System, records: Records, options: FitOptions) -> FitProblem:
    """Check the options of `fit` and return the problem that they describe."""
    noise = noise_model(options.distribution, options.loss)
    parameters, known = _known_parameters(system, records, options.fixed)
    states, given = _known_states(system, records, options.initial_state)
    common = _shared_names(system, options.shared, known)
    entries = choose_unknowns(system, known, given, common, options.bounds)
    if not entries:
        raise UsageError(
            f"nothing is left to fit: every parameter and initial state of {system.name} is known"
        )
    kind, weights = noise_weights(noise, records, options.noise_sd)
    start = _initial_times(records, options.initial_time)
    if records.doses is not None:
        records.doses.check_start(start, records.labels)
    return FitProblem(
        system=system,
        records=records,
        start=start,
        unknowns=Unknowns(entries, parameters, states),
        group=_groups(records, common, options.group),
        noise=kind,
        weights=weights,
        distribution=noise,
        rtol=options.rtol,
        fine=fine_grid(system, records, start, weights),
    )


def per_trajectory(name: str, value: Any, records: Records) -> Tensor:
    """Return a number, or one for each trajectory, as (N,)."""
    if isinstance(value, xr.DataArray):
        value = value.values
    if isinstance(value, Tensor):
        value = value.numpy()
    try:
        numbers = torch.as_tensor(np.array(value, dtype=np.float64))
    except (TypeError, ValueError):
        raise UsageError(f"expected {name} as a number or an array, got {value!r}") from None
    count = len(records)
    if numbers.shape not in ((), (count,)):
        raise UsageError(
            f"expected {name} as one number or {count}, one for each trajectory; "
            f"got shape {tuple(numbers.shape)}"
        )
    return numbers.expand(count)


def _known_parameters(
    system: System, records: Records, fixed: Mapping[str, Any] | None
) -> tuple[Tensor, set[str]]:
    values = torch.ones(len(records), len(system.parameters), dtype=torch.float64)
    known = set()
    given = as_mapping("fixed", fixed)
    for name in given:
        if name not in system.parameter_names:
            raise unknown_name(f"parameter of {system.name}", name, system.parameter_names)
    for place, parameter in enumerate(system.parameters):
        value = given.get(parameter.name, parameter.fixed)
        if value is None:
            continue
        numbers = per_trajectory(f"fixed[{parameter.name!r}]", value, records)
        outside = ~contains(numbers, parameter.support)
        if outside.any():
            row = int(outside.nonzero()[0])
            raise UsageError(
                f"fixed[{parameter.name!r}] of trajectory {records.labels[row]} is "
                f"{float(numbers[row]):g} {parameter.unit}, outside its support "
                f"({describe(parameter.support)})"
            )
        values[:, place] = numbers
        known.add(parameter.name)
    return values, known


def _known_states(system: System, records: Records, initial_state: Any) -> tuple[Tensor, set[str]]:
    """Return initial states (N, S) and the names of those that are known."""
    values = torch.ones(len(records), len(system.states), dtype=torch.float64)
    given: Mapping[str, Any] = {}
    if isinstance(initial_state, Mapping):
        given = initial_state
    elif initial_state == "auto":
        given = records.known_states
    elif initial_state == "first_sample":
        given = _first_sample(system, records)
    elif initial_state != "estimate":
        raise UsageError(
            'expected initial_state as "auto", "first_sample", "estimate" or a mapping from state '
            f"to number or array, got {initial_state!r}"
        )
    if given and system.has_initial_state:
        raise UsageError(
            f"the initial state of {system.name} follows from its parameters; leave out "
            "initial_state"
        )
    for name, value in given.items():
        if name not in system.state_names:
            raise unknown_name(f"state of {system.name}", name, system.state_names)
        numbers = per_trajectory(f"initial_state[{name!r}]", value, records)
        # NaN marks a state that is not known for a trajectory, whose fit ends with a status.
        values[:, system.state_names.index(name)] = numbers
    return values, set(given)


def _first_sample(system: System, records: Records) -> dict[str, Tensor]:
    missing = [name for name in system.output_names if name not in records.outputs]
    if not system.observes_all_states or missing:
        raise UsageError(
            f'initial_state="first_sample" needs every state of {system.name} observed'
            + (f", {', '.join(missing)} is not" if missing else "")
            + '; use "estimate", or give the states that are known: {"state": value}'
        )
    # The initial state holds before a dose at the same time, but the first sample shows its effect.
    first = records.observed[:, 0]
    if records.doses is not None:
        dosed = (records.doses.rise_at(system, records.times[:, 0]) != 0.0).any(dim=1)
        if dosed.any():
            raise UsageError(
                'initial_state="first_sample" is the state before doses, but the first sample of '
                f"trajectory {records.labels[int(dosed.nonzero()[0])]} shows what the dose given "
                'with it has done; give the state before it: initial_state={"state": value}'
            )
    return {
        state: first[:, records.outputs.index(output)]
        for state, output in zip(system.state_names, system.output_names, strict=True)
    }


def _shared_names(system: System, shared: Sequence[str] | None, known: set[str]) -> set[str]:
    names = [shared] if isinstance(shared, str) else list(shared or ())
    for name in names:
        if name not in system.parameter_names:
            raise unknown_name(f"parameter of {system.name}", name, system.parameter_names)
        if name in known:
            raise UsageError(f"parameter {name!r} is fixed and cannot be shared; leave out one")
    return set(names)


def _groups(records: Records, shared: set[str], group: Any) -> Tensor:
    count = len(records)
    # Without shared unknowns each trajectory is its own group, so that fits are independent.
    if group is None:
        return torch.zeros(count, dtype=torch.int64) if shared else torch.arange(count)
    if not shared:
        raise UsageError("group= says who shares parameters; name them: shared=['...']")
    if isinstance(group, str):
        group = records.groups[group]
    labels = np.asarray(group.values if isinstance(group, xr.DataArray) else group)
    if labels.shape != (count,):
        raise UsageError(
            f"expected group as a coordinate of the data set or {count} labels, one for each "
            f"trajectory; got shape {labels.shape}"
        )
    return torch.as_tensor(np.unique(labels, return_inverse=True)[1].reshape(-1))


def _initial_times(records: Records, initial_time: Any) -> Tensor:
    first = records.times[:, 0]
    if initial_time is None:
        return first.clone()
    start = per_trajectory("initial_time", initial_time, records)
    # Written with a negation, so that NaN is rejected, too.
    late = ~(start <= first)
    if late.any():
        row = int(late.nonzero()[0])
        raise UsageError(
            f"expected initial_time at or before the first sample; trajectory "
            f"{records.labels[row]} has its first sample at {float(first[row]):g}, got "
            f"{float(start[row]):g}"
        )
    return start.clone()
