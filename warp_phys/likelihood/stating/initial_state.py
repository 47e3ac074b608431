"""The initial states that are known, and the times at which they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from warp_phys.likelihood.stating.known_values import per_trajectory
from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.system import System


def known_states(
    system: System, records: Records, initial_state: Any, *, mixed: bool
) -> tuple[Tensor, Tensor]:
    """Return initial states (N, S), and where they are known, (N, S); the others are one.

    Where NaN does not stand for a state that is estimated, it is returned as a known value, and the
    fit of that trajectory ends with a status. So it does where a first sample is missing.

    Args:
        system: The system.
        records: The records of N trajectories.
        initial_state: See `fit`.
        mixed: Whether NaN stands for a state that is estimated in a trajectory.
    """
    values = torch.ones(len(records), len(system.states), dtype=torch.float64)
    known = torch.zeros_like(values, dtype=torch.bool)
    given: Mapping[str, Any] = {}
    if initial_state == "steady_state" and mixed:
        return values, ~known
    if isinstance(initial_state, Mapping):
        given = initial_state
    elif initial_state == "auto":
        given = records.known_states
    elif initial_state == "first_sample":
        given = _first_sample(system, records)
    elif initial_state != "estimate":
        steady = '"steady_state", ' if mixed else ""
        raise UsageError(
            f'expected initial_state as "auto", "first_sample", {steady}"estimate" or a mapping '
            f"from state to number or array, got {initial_state!r}"
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
        in_part = mixed and initial_state != "first_sample"
        here = ~numbers.isnan() if in_part else torch.ones_like(numbers, dtype=torch.bool)
        place = system.state_names.index(name)
        values[:, place] = torch.where(here, numbers, 1.0)
        known[:, place] = here
    return values, known


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


def without_given(records: Records, initial_state: Any) -> Records:
    """Return the records without the samples that are taken as the initial states.

    Such a sample is predicted exactly whatever the unknowns are. It is no measurement then, and
    must count neither among the values nor in the level of the noise. A sample at the time of an
    initial state that is known otherwise is a measurement like any other.
    """
    if initial_state != "first_sample":
        return records
    observed = records.observed.clone()
    observed[:, 0] = torch.nan
    return replace(records, observed=observed)


def initial_times(records: Records, initial_time: Any) -> Tensor:
    """Return the times (N,) of the initial states, by default those of the first samples."""
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
