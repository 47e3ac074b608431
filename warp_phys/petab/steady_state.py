"""Steady states, by integration until the states no longer change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from warp_phys.petab.system import PetabSystem
from warp_phys.systems.dynamics.integrate import integrate
from warp_phys.systems.errors import UsageError

# The spans of time that are tried, one after the other; the unit of time may be anything.
_SPANS = tuple(10.0**power for power in range(1, 13))
# A state is steady if its change over the next span, at its present rate, is below this share.
_SETTLED = 1e-10


def steady_states(
    system: PetabSystem,
    initial: Tensor,
    parameters: Tensor,
    inputs: Tensor,
    labels: Sequence[str],
    options: dict[str, Any],
) -> Tensor:
    """Return the steady states (N, S) that trajectories reach.

    Time runs to zero, so that what is switched on later does not matter.

    Args:
        system: The system.
        initial: (N, S), where they begin.
        parameters: (N, P).
        inputs: (N, I), held constant.
        labels: The trajectories, for messages.
        options: Options of `integrate`.

    Raises:
        UsageError: A trajectory reaches no steady state.
    """
    states = initial.clone()
    open_rows = torch.arange(len(initial))
    for span in _SPANS:
        given = parameters[open_rows]
        drive = inputs[open_rows]
        more: dict[str, Any] = {"inputs": drive[:, None], "input_times": torch.zeros(1).double()}
        solution = integrate(
            system,
            torch.zeros(1, dtype=torch.float64),
            states[open_rows],
            given,
            initial_time=-span,
            **(more if inputs.shape[1] else {}),
            **options,
        )
        reached = solution.states[:, -1]
        states[open_rows] = reached
        rate = system.derivative(
            torch.zeros(len(open_rows), dtype=torch.float64),
            reached.T,
            given.T,
            drive.T if inputs.shape[1] else None,
        ).T
        size = reached.abs().amax(dim=1, keepdim=True)
        settled = (rate.abs() * span <= _SETTLED * (reached.abs() + 1e-6 * size)).all(dim=1)
        open_rows = open_rows[~settled | ~solution.converged]
        if not open_rows.numel():
            return states
    raise UsageError(
        f"no steady state was reached before time zero in trajectory {labels[int(open_rows[0])]!r}"
    )
