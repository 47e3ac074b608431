"""What a filter estimates of a task's records: states and free parameters, without bounds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.paper._physics import held_parameters, held_system
from benchmarks.paper._tasks import Floats, Task
from warp_phys.systems import integrate

# Logarithms beyond are kept from overflowing; such a record is lost.
_LARGEST_LOG = 300.0


class Unknowns:
    """The unknowns z = (x, q) of a task's system: n states and free parameters.

    Those with positive support are there by their logarithms. The mass of an oscillator is held.
    """

    def __init__(self, task: Task) -> None:
        self.system = held_system(task)
        places = [self.system.parameter_names.index(name) for name in self.system.free_names]
        self.free = torch.tensor(places)
        self.constants = torch.tensor(held_parameters(task, task.train.first(1))[0])
        self.states = len(self.system.states)
        supports = [state.support for state in self.system.states]
        supports += [parameter.support for parameter in self.system.free_parameters]
        self.logarithmic = torch.tensor([support == "positive" for support in supports])
        logarithmic_states = bool(self.logarithmic[: self.states].any())
        self.linear_outputs = self.system.observes_all_states and not logarithmic_states

    def unbounded(self, states: Floats, parameters: Floats) -> Tensor:
        """Return z (N, n) of states (N, S) and parameters (N, P)."""
        free = torch.tensor(parameters)[:, self.free]
        values = torch.cat([torch.tensor(states), free], dim=1)
        return torch.where(self.logarithmic, values, 1.0).log().where(self.logarithmic, values)

    def physical(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return states (..., S) and parameters (..., P) of z (..., n)."""
        power = z.clamp(-_LARGEST_LOG, _LARGEST_LOG).exp()
        values = torch.where(self.logarithmic, power, z)
        parameters = self.constants.expand(*z.shape[:-1], -1).clone()
        parameters[..., self.free] = values[..., self.states :]
        return values[..., : self.states], parameters

    def outputs(self, points: Tensor) -> Tensor:
        """Return the outputs (N, K, O) of points (N, K, n)."""
        states, parameters = self.physical(points)
        found = self.system.outputs_at(0.0, states.movedim(2, 0), parameters.movedim(2, 0))
        return found.movedim(0, 2)

    def flow(self, step: float) -> Callable[[Tensor], Tensor]:
        """Return the function that moves points (N, K, n) along the physics for a step of time."""

        def moved(points: Tensor) -> Tensor:
            states, parameters = (part.flatten(0, 1) for part in self.physical(points))
            end = integrate(self.system, [0.0, step], states, parameters).states[:, -1]
            end = end.unflatten(0, points.shape[:2])
            positive = self.logarithmic[: self.states]
            end = torch.where(positive, end, 1.0).log().where(positive, end)
            return torch.cat([end, points[..., self.states :]], dim=2)

        return moved

    def parameter_part(self, values: Tensor) -> Tensor:
        """Return values (n,) with zeros for the states."""
        return torch.cat([torch.zeros_like(values[: self.states]), values[self.states :]])
