"""Inputs and doses as the caller of `integrate` gives them, checked, as a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems.dynamics.arrays import floating_like, time_grid
from warp_phys.systems.dynamics.doses import Dose
from warp_phys.systems.dynamics.forcing import Schedule, build_schedule
from warp_phys.systems.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from warp_phys.systems.model.system import System


def read_schedule(
    system: System,
    inputs: Any,
    input_times: Any,
    doses: Sequence[Dose],
    times: Tensor,
    start: Tensor,
    like: Tensor,
) -> Schedule | None:
    """Return what acts from outside on the N trajectories, None where nothing does.

    Args:
        system: The system.
        inputs: (N, K, I).
        input_times: (K,) or (N, K); None for the sample times.
        doses: See `Dose`.
        times: Sample times, (N, T), infinite as padding.
        start: Initial times, (N,).
        like: The initial states, (N, S).
    """
    knots, values = _table(system, inputs, input_times, times, like)
    held = torch.tensor([entry.between == "held" for entry in system.inputs], device=like.device)
    when, jumps = _doses(system, doses, start, like)
    return build_schedule(knots, values, held, when, jumps)


def _table(
    system: System, inputs: Any, input_times: Any, times: Tensor, like: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Return the times (N, K) and values (I, N, K) of the inputs."""
    name = type(system).__name__
    if not system.inputs:
        if inputs is not None or input_times is not None:
            raise UsageError(f"{name} has no external inputs; received inputs, leave them out")
        return None, None
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
    return knots, values.permute(2, 0, 1)


def _doses(
    system: System, doses: Sequence[Dose], start: Tensor, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the times (N, M), infinite where there is none, and the jumps (S, N, M)."""
    if isinstance(doses, Dose):
        raise UsageError(f"expected doses as a sequence of Dose, got one; write doses=[{doses!r}]")
    count = len(like)
    when = like.new_empty(count, len(doses))
    jumps = like.new_zeros(len(system.states), count, len(doses))
    for number, dose in enumerate(doses):
        if not isinstance(dose, Dose):
            raise UsageError(
                f"expected doses as a sequence of Dose(state, amount, time), got {dose!r}"
            )
        if dose.state not in system.state_names:
            kind = f"state of {type(system).__name__}"
            raise unknown_name(kind, dose.state, system.state_names)
        time = _numbers(f"time of dose {number}", dose.time, like)
        amount = _numbers(f"amount of dose {number}", dose.amount, like)
        when[:, number] = torch.where(time.isnan(), torch.inf, time)
        early = time < start
        if bool(early.any()):
            index = int(early.nonzero()[0])
            raise UsageError(
                f"dose {number} of trajectory {index} comes at {time[index].item():g}, before the "
                f"initial time {start[index].item():g}; put what it left into the initial state"
            )
        jumps[system.state_names.index(dose.state), :, number] = torch.where(
            time.isnan(), 0.0, amount
        )
    return when, jumps


def _numbers(what: str, value: Any, like: Tensor) -> Tensor:
    """Return (N,) of one number for all trajectories or one each."""
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
