"""Forecasts that need no model: what every row has to be better than."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.paper._models import Budget, Forecast
from benchmarks.paper._tasks import Floats, Split, Task
from warp_phys.data_gen.recipes.repeat_copy import repeat_copy


class _Trivial:
    """Learns nothing."""

    def fit(self, task: Task, budget: Budget) -> float:  # noqa: ARG002  # learns nothing
        """Do nothing."""
        return math.inf

    def count(self) -> int:
        """Return 0: nothing is trained."""
        return 0


class Zero(_Trivial):
    """Zero for ever."""

    def forecast(self, task: Task, split: Split) -> Forecast:  # noqa: ARG002 (Model's own)
        """Return zeros."""
        return Forecast(np.zeros_like(split.sequence))


class HoldLast(_Trivial):
    """The last sample of the context for ever."""

    def forecast(self, task: Task, split: Split) -> Forecast:  # noqa: ARG002 (Model's own)
        """Repeat each context's last sample."""
        last: Floats = split.sequence[np.arange(len(split)), split.context - 1]
        return Forecast(np.repeat(last[:, None], split.sequence.shape[1], axis=1))


class Copy(_Trivial):
    """The cycle of repeat-copy again and again: what a model that knows the period has to do."""

    def forecast(self, task: Task, split: Split) -> Forecast:
        """Repeat each cycle after its gap."""
        assert task.cycle_gap is not None
        return Forecast(repeat_copy(split.sequence, split.context - 1, task.cycle_gap)[1])
