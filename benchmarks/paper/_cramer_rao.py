"""The least error that any unbiased estimate from a context can have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.paper._physics import held_parameters, held_system
from benchmarks.paper._tasks import Floats, Split, Task
from warp_phys.systems import System


def cramer_rao(task: Task, split: Split) -> dict[str, Floats]:
    r"""Return the Cramer-Rao bounds of k/m and c/m, each (N,), as standard deviations.

    Of both combinations q and both initial states x_0, all unknown, with noise of known level
    :math:`\sigma_o` on every output, the covariance of no unbiased estimate is below

    .. math::
        \left(\sum_{t < s, o} \sigma_o^{-2}\,
        \frac{\partial y_{t,o}}{\partial (q, x_0)}
        \frac{\partial y_{t,o}}{\partial (q, x_0)}^T\right)^{-1}

    at the truth, with exact derivatives of the closed form.

    Raises:
        ValueError: The task is no free vibration, or its data have no noise.
    """
    if not {"m", "k", "c"} <= set(task.system.parameter_names):
        raise ValueError(f"expected a free vibration, got {task.name!r}")
    noise = split.data["true_noise_sd"].values
    if not (noise > 0.0).all():
        raise ValueError("without noise there is no bound: expected true_noise_sd above 0")
    system = held_system(task)
    parameters = torch.tensor(held_parameters(task, split))
    coordinates = system.coordinates_from_parameters(parameters.T).T
    initial = torch.tensor(split.data["true_initial_state"].values)
    unknowns = torch.cat([coordinates, initial], dim=1)
    elapsed = torch.tensor(split.times - split.times[0])
    derivatives = torch.func.vmap(torch.func.jacfwd(_outputs(system, parameters[0], elapsed)))
    jacobian = derivatives(unknowns)  # (N, O, T, unknowns)
    behind = np.arange(len(elapsed)) >= split.context[:, None]
    jacobian = jacobian.masked_fill(torch.tensor(behind)[:, None, :, None], 0.0)
    errors = _standard_deviations((jacobian / torch.tensor(noise)[:, :, None, None]).flatten(1, 2))
    names = task.system.linear_form.names if task.system.linear_form else ()
    return {name: errors[:, place].numpy() for place, name in enumerate(names)}


def _outputs(system: System, held: Tensor, elapsed: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the outputs (O, T) of one record as a function of its unknowns (q, x_0)."""
    count = len(elapsed)

    def outputs(unknowns: Tensor) -> Tensor:
        q, initial = unknowns[: -len(system.states)], unknowns[-len(system.states) :]
        p = system.parameters_from_coordinates(q, held)[:, None].expand(-1, count)
        states = system.solution_at(elapsed, initial[:, None].expand(-1, count), p)
        return system.outputs_at(elapsed, states, p)

    return outputs


def _standard_deviations(rows: Tensor) -> Tensor:
    """Return (N, K) of the covariance (rows^T rows)^-1, columns scaled: units differ widely."""
    scale = rows.norm(dim=1, keepdim=True)
    upper = torch.linalg.qr(rows / scale, mode="r").R
    identity = torch.eye(rows.shape[2], dtype=rows.dtype)
    inverse = torch.linalg.solve_triangular(upper, identity.expand_as(upper), upper=True)
    return inverse.norm(dim=2) / scale[:, 0]
