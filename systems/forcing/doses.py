"""Doses: states that jump by a known amount at a known time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from warp_phys.systems.errors import UsageError

if TYPE_CHECKING:
    from warp_phys.systems.model.system import System


@dataclass(frozen=True)
class Dose:
    """A bolus dose: at `time`, `amount` is added to the state `state` instantaneously.

    A sample or an initial state at the time of a dose shows the state after the dose.

    Attributes:
        state: Name of a state of the system.
        amount: Amount in the unit of the state, negative for a removal: a number, or one for each
            of N trajectories (`simulate` also takes ranges and distributions).
        time: Time in the time unit of the system: a number, or one for each of N trajectories, NaN
            if a trajectory has no such dose.

    Example:
        >>> Dose("gut", 320.0, time=24.0)
        Dose(state='gut', amount=320.0, time=24.0)
    """

    state: str
    amount: Any
    time: Any


@dataclass(frozen=True)
class Doses:
    """M doses for each of N trajectories; see `Dose`.

    Attributes:
        states: The state to which each dose is added, M names.
        amounts: (N, M), in the unit of the state.
        times: (N, M), NaN if a trajectory has no such dose.
    """

    states: tuple[str, ...]
    amounts: Tensor
    times: Tensor

    def select(self, index: Tensor | slice) -> Doses:
        """Return the doses of some trajectories."""
        return Doses(self.states, self.amounts[index], self.times[index])

    def as_sequence(self) -> list[Dose]:
        """Return the doses in the form that `integrate` takes."""
        columns = zip(self.states, self.amounts.unbind(1), self.times.unbind(1), strict=True)
        return [Dose(state, amount, time) for state, amount, time in columns]

    def rise(self, system: System, number: int) -> Tensor:
        """Return the amounts (N, S) that dose `number` adds to the states; 0 if it is not given."""
        added = self.amounts.new_zeros(len(self.amounts), len(system.states))
        given = self.times[:, number].isfinite()
        place = system.state_names.index(self.states[number])
        added[:, place] = torch.where(given, self.amounts[:, number], 0.0)
        return added

    def rise_at(self, system: System, times: Tensor) -> Tensor:
        """Return the amounts (N, S) that the doses at times (N,) add to the states."""
        total = self.amounts.new_zeros(len(self.amounts), len(system.states))
        for number in range(len(self.states)):
            here = (self.times[:, number] == times).unsqueeze(1)
            total = total + torch.where(here, self.rise(system, number), 0.0)
        return total

    def check_start(self, start: Tensor, labels: Sequence[Any]) -> None:
        """Refuse doses before the initial times (N,).

        Raises:
            UsageError: A dose comes before the initial state of its trajectory.
        """
        early = self.times < start.unsqueeze(1)
        if early.any():
            row, number = early.nonzero()[0].tolist()
            when = float(self.times[row, number])
            raise UsageError(
                f"dose {number} of trajectory {labels[row]} comes at {when:g}, before its initial "
                f"state at {float(start[row]):g}; let that hold when the first dose is given, "
                f"initial_time={when:g}, or put what the dose left into the initial state"
            )
