"""Root functions: outputs from unknowns, by the closed form of a system or by integration."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from warp_phys.models.coordinates import Physical
from warp_phys.records.records import Records
from warp_phys.systems.dynamics.integrate import integrate
from warp_phys.systems.errors import UsageError
from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.model.supports import contains
from warp_phys.systems.model.system import System

Root = Literal["solution", "step", "rollout"]

FLOW: dict[str, Any] = {"rtol": 1e-6, "max_steps": 1000}
"""Options of the flows behind estimates: far below any band, and cheap.

A prediction that takes more steps from sample to sample starts from a wild value, and stays NaN.
"""


def check_root(system: System, root: str) -> None:
    """Raise UsageError unless a system has what a root function needs."""
    if system.increments:
        name = system.output_names[system.increments[0]]
        raise UsageError(
            f"output {name!r} of {system.name} is an increase since the previous sample, which "
            "only simulate(...), fit(...) and forecasts of fits know of; use fit(system, data)"
        )
    if root == "solution" and not system.has_solution:
        raise UsageError(
            f"root='solution' needs a closed form, which {system.name} lacks; use root='rollout'"
        )
    if root == "step" and system.events:
        raise UsageError(
            f"root='step' starts anew at every observed state, and cannot tell which events of "
            f"{system.name} have happened; use root='rollout'"
        )
    if root == "step" and not system.observes_all_states:
        raise UsageError(
            f"root='step' starts from the previous observed state, and {system.name} does not "
            "observe its states; use root='rollout'"
        )


def predict(
    system: System, root: str, records: Records, unknowns: Physical, **options: Any
) -> Tensor:
    """Return outputs (N, T, O) at every sample, each from the unknowns at that sample.

    Args:
        system: The physics.
        root: "solution" or "rollout": from the estimated initial state. "step": from the last
            earlier sample at which every state was observed.
        records: Times, inputs and observed states of N trajectories.
        unknowns: With leading dimensions (N, T).
        options: Passed on to `integrate`.
    """
    if root == "step":
        return _step(system, records, unknowns, options)
    count, length = records.times.shape
    flat = Physical(*(_flat(value) for value in _parts(unknowns)))
    times = records.times.reshape(-1, 1)
    start = records.times[:, :1].expand(-1, length).reshape(-1)
    if system.inputs:
        # With inputs the integration needs them from the first sample on, not at the last one
        # alone.
        outputs = _driven(system, records, unknowns, options)
        return _chosen(outputs, records, system)
    # N T independent trajectories with one time each: sample t is predicted from the unknowns that
    # were estimated at sample t.
    outputs = flow(system, flat, times, start, None, **options)
    return _chosen(outputs.reshape(count, length, -1), records, system)


def rollout(system: System, records: Records, unknowns: Physical, **options: Any) -> Tensor:
    """Return outputs (N, T, O) at all samples from one set of unknowns (N, ...) per trajectory."""
    inputs = records.inputs if system.inputs else None
    outputs = flow(system, unknowns, records.times, records.times[:, 0], inputs, **options)
    return _chosen(outputs, records, system)


def flow(
    system: System,
    unknowns: Physical,
    times: Tensor,
    start: Tensor,
    inputs: Tensor | None,
    doses: Doses | None = None,
    **options: Any,
) -> Tensor:
    """Return all the system's outputs (M, T, O) at times (M, T) of unknowns (M, ...).

    Args:
        system: The physics.
        unknowns: Parameters and the state at `start`.
        times: NaN gives NaN, and may only pad the end.
        start: (M,), time of the initial state.
        inputs: (M, T, I).
        doses: Doses of the M trajectories, none before its start.
        options: Passed on to `integrate`.
    """
    # In double precision whatever the dtype of the model: times may start anywhere, and in float32
    # the differences of late times would be rounded away.
    parameters, states = unknowns.parameters.double(), unknowns.initial_state.double()
    # Unknowns that are NaN or outside their support give NaN instead of an error, without an
    # integration; `index_put` keeps the result differentiable.
    usable = times[:, 0].isfinite() & parameters.isfinite().all(dim=-1)
    usable = usable & states.isfinite().all(dim=-1) & start.isfinite()
    for index, parameter in enumerate(system.parameters):
        usable = usable & contains(parameters[:, index], parameter.support)
    outputs = torch.full((*times.shape, len(system.outputs)), torch.nan, dtype=torch.float64)
    if not usable.any():
        return outputs
    grid, parameters = times[usable], parameters[usable]
    known = None if inputs is None else inputs[usable]
    solution = integrate(
        system,
        grid,
        states[usable],
        parameters,
        inputs=known,
        doses=() if doses is None else doses.select(usable).as_sequence(),
        initial_time=start[usable],
        **options,
    )
    values = system.outputs_at(
        grid,
        solution.states.movedim(-1, 0),
        parameters.T.unsqueeze(-1).expand(-1, -1, times.shape[1]),
        None if known is None else known.movedim(-1, 0),
    ).movedim(0, -1)
    return outputs.index_put((usable.nonzero().squeeze(-1),), values)


def _step(system: System, records: Records, unknowns: Physical, options: Any) -> Tensor:
    """Predict each sample from the last complete one before it."""
    if not system.observes_all_states or set(records.outputs) != set(system.output_names):
        raise UsageError(
            f"root='step' needs every state of {system.name} observed, got "
            f"{', '.join(records.outputs)}; use root='rollout'"
        )
    count, length = records.times.shape
    row, place = torch.arange(count).unsqueeze(1), torch.arange(length).expand(count, -1)
    # The last sample before each one at which all states were observed, by a cumulative maximum; -1
    # where there is none, in which case the estimated initial state is used.
    last = torch.where(records.seen.all(dim=-1), place, -1).cummax(dim=1).values
    before = torch.cat([torch.full_like(last[:, :1], -1), last[:, :-1]], dim=1)
    source = before.clamp_min(0)
    observed = records.observed[..., [records.outputs.index(n) for n in system.output_names]]
    known = (before >= 0).unsqueeze(-1)
    start = torch.where(known, observed[row, source], unknowns.initial_state.double())
    moved = Physical(_flat(unknowns.parameters), _flat(start), _flat(unknowns.noise_sd))
    start_time = records.times[row, source].flatten()
    if not system.inputs:
        outputs = flow(system, moved, records.times.reshape(-1, 1), start_time, None, **options)
        return _chosen(outputs.reshape(count, length, -1), records, system)
    # With inputs the integration passes through every sample in between, where they are known.
    way = source.unsqueeze(-1) + torch.arange(int((place - source).max()) + 1)
    behind = way > place.unsqueeze(-1)
    way = way.clamp_max(length - 1)
    times = records.times[row.unsqueeze(1), way].masked_fill(behind, torch.nan)
    inputs = records.inputs[row.unsqueeze(1), way]
    passed = flow(system, moved, _flat(times), start_time, inputs.flatten(0, 1), **options)
    outputs = passed[torch.arange(count * length), (place - source).flatten()]
    return _chosen(outputs.reshape(count, length, -1), records, system)


def _driven(system: System, records: Records, unknowns: Physical, options: Any) -> Tensor:
    """Roll out each sample's unknowns along the whole input, and keep that sample's outputs."""
    columns = []
    for place in range(records.times.shape[1]):
        at_place = Physical(*(value[:, place] for value in _parts(unknowns)))
        until = records.times[:, : place + 1]
        inputs = records.inputs[:, : place + 1]
        columns.append(flow(system, at_place, until, records.times[:, 0], inputs, **options)[:, -1])
    return torch.stack(columns, dim=1)


def _chosen(outputs: Tensor, records: Records, system: System) -> Tensor:
    names = system.output_names
    if records.outputs == names:
        return outputs
    return outputs[..., [names.index(name) for name in records.outputs]]


def _parts(unknowns: Physical) -> tuple[Tensor, Tensor, Tensor]:
    return unknowns.parameters, unknowns.initial_state, unknowns.noise_sd


def _flat(values: Tensor) -> Tensor:
    return values.flatten(0, -2)
