"""Quantities of a fit that follow from its unknowns: tied parameters and steady initial states."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.ties import Ties
from warp_phys.systems.dynamics.steady_state import SteadyProblem, steady_slopes, steady_states
from warp_phys.systems.model.system import System


@dataclass(frozen=True)
class SteadyStart:
    """The conditions under which N trajectories were at rest before they begin.

    Attributes:
        system: The system, with the initial states from which steady states are approached.
        time: (N,), the time of the initial states.
        inputs: (N, I), the inputs just before; None without inputs.
        initial: (N, S), the states from which steady states are approached, unless the parameters
            determine them.
    """

    system: System
    time: Tensor
    inputs: Tensor | None
    initial: Tensor

    def select(self, rows: Tensor) -> SteadyStart:
        """Return the conditions of some trajectories."""
        inputs = None if self.inputs is None else self.inputs[rows]
        return SteadyStart(self.system, self.time[rows], inputs, self.initial[rows])

    def problem(self, parameters: Tensor, rows: Tensor) -> SteadyProblem:
        """Return the problem of lanes of trajectories rows (L,) at parameters (L, P)."""
        initial, inputs = self.initial[rows], None if self.inputs is None else self.inputs[rows]
        if self.system.has_initial_state:
            initial = self._implied(parameters)
        return SteadyProblem(self.system, parameters, initial, inputs, self.time[rows])

    def slopes(self, problem: SteadyProblem, states: Tensor) -> Tensor:
        """Return the derivatives (L, S, P) of steady states (L, S) by the parameters."""
        by_parameter, by_initial = steady_slopes(problem, states)
        if not self.system.has_initial_state:
            return by_parameter
        parts = []
        for place in range(problem.parameters.shape[1]):
            along = torch.zeros_like(problem.parameters)
            along[:, place] = 1.0
            parts.append(torch.func.jvp(self._implied, (problem.parameters,), (along,))[1])
        return by_parameter + by_initial @ torch.stack(parts, dim=2)

    def _implied(self, parameters: Tensor) -> Tensor:
        states = self.system.initial_state_at(parameters.T)
        assert states is not None
        return states.T


@dataclass(frozen=True)
class Derived:
    """What follows from the unknowns of a fit.

    Attributes:
        ties: Tied parameters, possibly none.
        steady: Where initial states are steady states; otherwise None.
    """

    ties: Ties
    steady: SteadyStart | None

    def select(self, rows: Tensor) -> Derived:
        """Return what follows from the unknowns of some trajectories."""
        return replace(self, steady=None if self.steady is None else self.steady.select(rows))

    def directions(self) -> tuple[int, ...]:
        """Return further directions of differentiation, see `Unknowns.directions`."""
        steady = self.steady
        states = () if steady is None else range(len(steady.system.states))
        return (*self.ties.places, *(-1 - state for state in states))

    def completed(
        self, parameters: Tensor, initial: Tensor, rows: Tensor, guess: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return parameters (L, P) and initial states (L, S) with what follows from the unknowns.

        Args:
            parameters: (L, P), with the values of the unknowns.
            initial: (L, S), likewise.
            rows: (L,), the trajectory of each lane.
            guess: (L, S), steady states at similar parameters, or NaN; None without any.
        """
        if self.ties.names:
            parameters = self.ties.applied(parameters)
        if self.steady is not None:
            initial = steady_states(self.steady.problem(parameters, rows), guess)
        return parameters, initial

    def slopes(self, parameters: Tensor, initial: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return derivatives of what `completed` returned by the parameters that are not tied.

        Those of the parameters are (L, P, P), those of the initial states (L, S, P).
        """
        count, size = parameters.shape
        if self.ties.names:
            chain = self.ties.slopes(parameters)
        else:
            chain = torch.eye(size, dtype=parameters.dtype).expand(count, size, size)
        if self.steady is None:
            return chain, initial.new_zeros(count, initial.shape[1], size)
        found = self.steady.slopes(self.steady.problem(parameters, rows), initial)
        return chain, found @ chain
