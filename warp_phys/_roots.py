"""Roots: outputs from unknowns, by the system's closed form or its flow."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from warp_phys._coordinates import Physical
from warp_phys._records import Records
from warp_phys.systems._errors import UsageError
from warp_phys.systems._integrate import integrate
from warp_phys.systems._supports import contains
from warp_phys.systems._system import System

Root = Literal["solution", "step", "rollout"]


def predict(
    system: System, root: str, records: Records, unknowns: Physical, **options: Any
) -> Tensor:
    """Return outputs (N, T, O) at every sample, each from the unknowns at that sample.

    Args:
        system: The physics.
        root: "solution" or "rollout": from the estimated initial state. "step": from the last
            sample before at which every state was observed.
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
        # A driven flow needs the input from the first sample on, not at the last alone.
        outputs = _driven(system, records, unknowns, options)
        return _chosen(outputs, records, system)
    outputs = flow(system, flat, times, start, None, **options)
    return _chosen(outputs.reshape(count, length, -1), records, system)


def rollout(system: System, records: Records, unknowns: Physical, **options: Any) -> Tensor:
    """Return outputs (N, T, O) at all samples from one set of unknowns (N, ...) a trajectory."""
    inputs = records.inputs if system.inputs else None
    outputs = flow(system, unknowns, records.times, records.times[:, 0], inputs, **options)
    return _chosen(outputs, records, system)


def flow(
    system: System,
    unknowns: Physical,
    times: Tensor,
    start: Tensor,
    inputs: Tensor | None,
    **options: Any,
) -> Tensor:
    """Return all the system's outputs (M, T, O) at times (M, T) of unknowns (M, ...).

    Args:
        system: The physics.
        unknowns: Parameters and the state at `start`.
        times: NaN gives NaN, and may only pad the end.
        start: (M,) when the initial state holds.
        inputs: (M, T, I).
        options: Passed on to `integrate`.
    """
    dtype = unknowns.parameters.dtype
    usable = times[:, 0].isfinite() & unknowns.parameters.isfinite().all(dim=-1)
    usable = usable & unknowns.initial_state.isfinite().all(dim=-1)
    for index, parameter in enumerate(system.parameters):
        usable = usable & contains(unknowns.parameters[:, index], parameter.support)
    outputs = torch.full((*times.shape, len(system.outputs)), torch.nan, dtype=dtype)
    if not usable.any():
        return outputs
    chosen_times = times[usable]
    parameters = unknowns.parameters[usable]
    known = None if inputs is None else inputs[usable].to(dtype)
    solution = integrate(
        system,
        chosen_times.to(dtype),
        unknowns.initial_state[usable],
        parameters,
        inputs=known,
        initial_time=start[usable].to(dtype),
        **options,
    )
    values = system.outputs_at(
        chosen_times.to(dtype),
        solution.states.movedim(-1, 0),
        parameters.T.unsqueeze(-1).expand(-1, -1, times.shape[1]),
        None if known is None else known.movedim(-1, 0),
    ).movedim(0, -1)
    return outputs.index_put((usable.nonzero().squeeze(-1),), values)


def _step(system: System, records: Records, unknowns: Physical, options: Any) -> Tensor:
    """Predict each sample from the last complete one before it."""
    if not system.observes_all_states or records.outputs != system.output_names:
        raise UsageError(
            f"root='step' needs every state of {system.name} observed, got "
            f"{', '.join(records.outputs)}; use root='rollout'"
        )
    count, length = records.times.shape
    complete = records.seen.all(dim=-1)
    place = torch.arange(length).expand(count, -1)
    last = torch.where(complete, place, -1).cummax(dim=1).values
    before = torch.cat([torch.full_like(last[:, :1], -1), last[:, :-1]], dim=1)
    source = before.clamp_min(0)
    states = records.observed.gather(1, source.unsqueeze(-1).expand(-1, -1, len(system.states)))
    known = (before >= 0).unsqueeze(-1)
    dtype = unknowns.parameters.dtype
    start_state = torch.where(known, states.to(dtype), unknowns.initial_state)
    start_time = records.times.gather(1, source)
    inputs = None
    if system.inputs:
        index = source.unsqueeze(-1).expand(-1, -1, records.inputs.shape[-1])
        pair = torch.stack([records.inputs.gather(1, index), records.inputs], dim=2)
        inputs = pair.flatten(0, 1)
    grid = records.times.reshape(-1, 1)
    if inputs is not None:
        grid = torch.stack([start_time, records.times], dim=2).flatten(0, 1)
    moved = Physical(_flat(unknowns.parameters), _flat(start_state), _flat(unknowns.noise_sd))
    outputs = flow(system, moved, grid, start_time.reshape(-1), inputs, **options)
    return outputs[:, -1].reshape(count, length, -1)


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
