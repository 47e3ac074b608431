"""Integrates a whole data set, block by block."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from warp_phys.data_gen.drawing.inputs import Driven
from warp_phys.data_gen.drawing.quantity import Floats
from warp_phys.systems.dynamics.integrate import integrate
from warp_phys.systems.dynamics.problem import Solution
from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.model.increments import as_increments
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.flags import SimulationStatus

BLOCK = 16384
"""Trajectories integrated at a time: enough for full speed, few enough to show progress."""

_PROGRESS_AFTER = 2.0
"""Seconds before a progress bar appears."""


class Run(NamedTuple):
    """The result of integrating: outputs (N, T, O), error estimate (N,) and status (N,)."""

    outputs: Floats
    error_estimate: Floats
    status: NDArray[np.int64]


def run_system(
    system: System,
    grid: Floats,
    starts: Floats,
    parameters: Floats,
    driven: Driven | None = None,
    doses: Doses | None = None,
    *,
    rtol: float,
    atol: float | None,
    relative: bool,
    method: str,
    progress: bool = True,
    block: int = BLOCK,
) -> Run:
    """Integrate block by block, with a progress bar on standard error if it takes long.

    Args:
        system: The system.
        grid: Sample times, (T,) or (N, T) padded with NaN.
        starts: Initial states, (N, S).
        parameters: Parameters, (N, P).
        driven: The inputs, or None.
        doses: The doses, or None.
        rtol: Relative tolerance.
        atol: Absolute tolerance, or None for one that follows the states.
        relative: Whether every value is to be accurate relative to itself.
        method: See `integrate`.
        progress: Show the bar.
        block: Trajectories integrated at a time; no result depends on it.
    """
    n, samples = len(starts), grid.shape[-1]
    run = Run(np.empty((n, samples, len(system.outputs))), np.empty(n), np.empty(n, np.int64))
    with tqdm(
        total=n,
        delay=_PROGRESS_AFTER,
        unit=" trajectories",
        desc="simulate",
        disable=not progress,
    ) as bar:
        for first in range(0, n, block):
            rows = slice(first, first + block)
            times = torch.from_numpy(grid if grid.ndim == 1 else grid[rows])
            values = torch.from_numpy(parameters[rows])
            solution = integrate(
                system,
                times,
                torch.from_numpy(starts[rows]),
                values,
                **_forcing(driven, doses, rows),
                rtol=rtol,
                atol=atol,
                relative=relative,
                method=method,
            )
            states, status = _inside_support(system, solution)
            inputs = None if driven is None else torch.from_numpy(driven.at_samples[rows])
            run.outputs[rows] = _outputs(system, times, states, values, inputs)
            run.error_estimate[rows] = solution.error_estimate
            run.status[rows] = status
            bar.update(len(values))
    return run


def _forcing(driven: Driven | None, doses: Doses | None, rows: slice) -> dict[str, Any]:
    """Return the inputs and doses of some trajectories in the form that `integrate` takes."""
    given: dict[str, Any] = {}
    if driven is not None:
        given["inputs"] = torch.from_numpy(driven.at_knots[rows])
        if driven.knots is not None:
            shared = driven.knots.ndim == 1
            given["input_times"] = driven.knots if shared else driven.knots[rows]
    if doses is not None:
        given["doses"] = doses.select(rows).as_sequence()
    return given


def _inside_support(system: System, solution: Solution) -> tuple[torch.Tensor, torch.Tensor]:
    """Return states (N, T, S) and status (N,); a positive state that reaches 0 has failed.

    The exact solution stays positive. The state has therefore fallen below the absolute tolerance,
    and the numerical solution is a different one from there on.
    """
    states = solution.states
    positive = torch.tensor([state.support == "positive" for state in system.states])
    if not ((states <= 0) & positive).any():
        return states, solution.status
    # The cumulative maximum along time marks every sample from the first failure on. NaN compares
    # as false, so that trajectories that failed earlier keep their status.
    lost = ((states <= 0) & positive).any(dim=2).cummax(dim=1).values
    failed = lost.any(dim=1) & solution.converged
    return (
        states.masked_fill(lost[:, :, None], torch.nan),
        solution.status.masked_fill(failed, int(SimulationStatus.NOT_POSITIVE)),
    )


def _outputs(
    system: System,
    times: torch.Tensor,
    states: torch.Tensor,
    parameters: torch.Tensor,
    inputs: torch.Tensor | None,
) -> Floats:
    """Return the outputs, (N, T, O), of states (N, T, S); NaN if a state is not finite."""
    if system.observes_all_states and bool(states.isfinite().all()):
        return states.numpy()
    outputs = system.outputs_at(
        times,
        states.permute(2, 0, 1),
        parameters.T[:, :, None].expand(-1, -1, states.shape[1]),
        None if inputs is None else inputs.permute(2, 0, 1),
    ).permute(1, 2, 0)
    # An output may be finite though a state is not, for instance if it does not depend on that
    # state.
    reached = states.isfinite().all(dim=2, keepdim=True)
    outputs = torch.where(reached, outputs, torch.nan)
    # A simulation begins with its first sample.
    return as_increments(system, outputs, outputs[:, 0]).numpy()
