"""The memory of the regression head between samples of sensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RegressionMemory:
    """The last four samples of N sensors, and the states of two recurrences.

    Attributes:
        times: (N, 4).
        integrands: (N, 4, S (Q + 1)).
        first: (N, S), x_0.
        last: (N, S), x_{t-1}.
        accumulated: (N, S (Q + 1)), b and Phi, the state of the first recurrence.
        sums: (N, D), the state of the second recurrence.
        count: (N,), number of usable samples so far.
    """

    times: Tensor
    integrands: Tensor
    first: Tensor
    last: Tensor
    accumulated: Tensor
    sums: Tensor
    count: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """The number of sensors and of states."""
        sensors, states = self.first.shape
        return sensors, states

    @property
    def time(self) -> Tensor:
        """(N,), the time of the last usable sample."""
        return self.times[:, -1]

    def late(self, times: Tensor) -> Tensor:
        """Return which of the next times (N,) do not come after the last usable sample."""
        return (self.count > 0) & (times <= self.time)

    def keep_where(self, usable: Tensor, after: RegressionMemory) -> RegressionMemory:
        """Return `after` for usable samples (N,) and this memory for the others."""

        def chosen(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(usable.view(-1, *[1] * (new.ndim - 1)), new, old)

        return RegressionMemory(
            *(chosen(getattr(after, name), getattr(self, name)) for name in self.__annotations__)
        )
