"""Checks the inputs and doses of `integrate`, and builds the schedule from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems.dynamics.arrays import floating_like, time_grid
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.forcing.doses import Dose, Doses
from warp_phys.systems.forcing.inputs import InputTable
from warp_phys.systems.forcing.schedule import Schedule, build_schedule

if TYPE_CHECKING:
    from warp_phys.systems.model.system import System


def read_schedule(
    system: System,
    inputs: Any,
    input_times: Any,
    doses: Doses | None,
    times: Tensor,
    like: Tensor,
) -> Schedule | None:
    """Return the schedule of inputs and doses of N trajectories, None if there are neither.

    Args:
        system: The system.
        inputs: (N, K, I).
        input_times: (K,) or (N, K); None for the sample times.
        doses: See `read_doses`.
        times: Sample times, (N, T), infinite as padding.
        like: The initial states, (N, S).
    """
    return build_schedule(system, _table(system, inputs, input_times, times, like), doses)


def _table(
    system: System, inputs: Any, input_times: Any, times: Tensor, like: Tensor
) -> InputTable | None:
    """Return the table of inputs, None if the system has none."""
    name = type(system).__name__
    if not system.inputs:
        if inputs is not None or input_times is not None:
            raise UsageError(f"{name} has no external inputs; received inputs, leave them out")
        return None
    knots = times
    if input_times is not None:
        knots, _ = time_grid("input_times", input_times, len(like), like)
    expected = (*knots.shape, len(system.inputs))
    if inputs is None:
        raise UsageError(
            f"{name} has external inputs ({', '.join(system.input_names)}); "
            f"expected inputs of shape {expected}, received none"
        )
    values = floating_like("inputs", inputs, like)
    if tuple(values.shape) != expected:
        raise UsageError(
            f"expected inputs of shape (N, T, I) = {expected}, one column for each of "
            f"{', '.join(system.input_names)}; received {tuple(values.shape)}"
        )
    return InputTable(knots, values)


def read_doses(system: System, doses: Sequence[Dose], start: Tensor, like: Tensor) -> Doses | None:
    """Return doses, see `Dose`, None if there are none.

    Args:
        system: The system.
        doses: The doses.
        start: Initial times, (N,).
        like: The initial states, (N, S).
    """
    if isinstance(doses, Dose):
        raise UsageError(f"expected doses as a sequence of Dose, got one; write doses=[{doses!r}]")
    amounts, times = [], []
    for number, dose in enumerate(doses):
        _check_dose(system, dose)
        time = _numbers(f"time of dose {number}", dose.time, like)
        amounts.append(_numbers(f"amount of dose {number}", dose.amount, like))
        times.append(time)
        early = time < start
        if bool(early.any()):
            index = int(early.nonzero()[0])
            raise UsageError(
                f"dose {number} of trajectory {index} comes at {time[index].item():g}, before the "
                f"initial time {start[index].item():g}; put what it left into the initial state"
            )
    if not times:
        return None
    states = tuple(dose.state for dose in doses)
    return Doses(states, torch.stack(amounts, dim=1), torch.stack(times, dim=1))


def _check_dose(system: System, dose: Any) -> None:
    if not isinstance(dose, Dose):
        raise UsageError(f"expected doses as a sequence of Dose(state, amount, time), got {dose!r}")
    if dose.state not in system.state_names:
        kind = f"state of {type(system).__name__}"
        raise unknown_name(kind, dose.state, system.state_names)


def _numbers(what: str, value: Any, like: Tensor) -> Tensor:
    """Return (N,) numbers from one number for all trajectories or one for each."""
    try:
        numbers = torch.as_tensor(
            value if isinstance(value, Tensor) else np.asarray(value, dtype=np.float64)
        )
    except (TypeError, ValueError):
        raise UsageError(f"expected {what} as a number or an array, got {value!r}") from None
    if numbers.shape not in ((), (len(like),)):
        raise UsageError(
            f"expected {what} as a number or one for each of {len(like)} trajectories, got shape "
            f"{tuple(numbers.shape)}"
        )
    return numbers.to(like).expand(len(like))
