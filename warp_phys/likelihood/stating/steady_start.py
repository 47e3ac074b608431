"""The conditions of trajectories that begin at a steady state."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from warp_phys.likelihood.derived import SteadyStart
from warp_phys.records.records import Records
from warp_phys.systems.model.system import System


def steady_start(system: System, records: Records, time: Tensor) -> SteadyStart:
    """Return the conditions under which N trajectories were at rest until their initial time.

    Inputs are those just before it: with a table of inputs that begins earlier, a held input that
    changes at the initial time still has its earlier value.

    Args:
        system: The system.
        records: The records of N trajectories.
        time: (N,), initial times.
    """
    inputs = None
    if system.inputs and records.table is not None:
        before = torch.nextafter(time, torch.full_like(time, -math.inf))
        inputs = records.table.at(system, before.unsqueeze(1))[:, 0]
    elif system.inputs:
        inputs = records.inputs[:, 0]
    return default_start(system, time, inputs)


def default_start(system: System, time: Tensor, inputs: Tensor | None) -> SteadyStart:
    """Return conditions in which steady states are approached from the default initial state.

    Args:
        system: The system.
        time: (N,), initial times.
        inputs: (N, I), or None without inputs.
    """
    initial = [
        0.5 * sum(value) if isinstance(value, tuple | list) else value
        for value in system.default_initial_state.values()
    ]
    states = torch.tensor(initial, dtype=torch.float64).expand(len(time), -1)
    return SteadyStart(system, time, inputs, states)
