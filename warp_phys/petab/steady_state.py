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
    # Many experiments begin in the same state, which is found once.
    together = torch.cat([initial, parameters, inputs], dim=1)
    different, place = torch.unique(together, dim=0, return_inverse=True)
    sizes = [initial.shape[1], parameters.shape[1], inputs.shape[1]]
    states, given, drive = (part.contiguous() for part in different.split(sizes, dim=1))
    open_rows = torch.arange(len(states))
    for span in _SPANS:
        run = (states[open_rows], given[open_rows], drive[open_rows])
        reached, settled = _run(system, run, span, options)
        states[open_rows] = reached
        open_rows = open_rows[~settled]
        if not open_rows.numel():
            return states[place]
    first = int((place == open_rows[0]).nonzero()[0])
    raise UsageError(
        f"no steady state was reached before time zero in trajectory {labels[first]!r}"
    )


def _run(
    system: PetabSystem, run: tuple[Tensor, Tensor, Tensor], span: float, options: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Return the states after a span of time, and whether they are steady."""
    states, given, drive = run
    driven = bool(drive.shape[1])
    times = torch.zeros(1, dtype=torch.float64)
    more: dict[str, Any] = {"inputs": drive[:, None], "input_times": times} if driven else {}
    solution = integrate(system, times, states, given, initial_time=-span, **more, **options)
    reached = solution.states[:, -1]
    now = torch.zeros(len(states), dtype=torch.float64)
    rate = system.derivative(now, reached.T, given.T, drive.T if driven else None).T
    size = reached.abs().amax(dim=1, keepdim=True)
    still = rate.abs() * span <= _SETTLED * (reached.abs() + 1e-6 * size)
    return reached, still.all(dim=1) & solution.converged
