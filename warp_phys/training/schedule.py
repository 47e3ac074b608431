"""The schedule of a training run: its length, learning rate and stopping rules."""

from __future__ import annotations

import math
from dataclasses import dataclass

from warp_phys.systems.errors import UsageError
from warp_phys.training.checkpoint import Progress

# Steps over which the rate rises: the second moments of Adam are not yet reliable at the start.
_WARM_UP = 100


@dataclass(frozen=True)
class Schedule:
    """The arguments of a call of `train` that determine its result."""

    loss: str
    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    time_budget: float | None
    patience: int | None
    context: int | str | None = None

    def rate(self, progress: Progress) -> float:
        """Return the learning rate: a linear warm-up, then half a cosine down to almost zero.

        With s the step, W the steps of the warm-up and p the share of the run that is done,

            rate = learning_rate min(1, (s + 1) / W) ((1 + cos(pi p)) / 2 + 10^-3).

        Under a time budget, p is the larger of the shares of the budget and of the steps.

        References:
            I. Loshchilov, F. Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR
            2017, eq. 5, without restarts.
        """
        done = progress.step / self.steps
        if self.time_budget is not None:
            done = max(done, min(1.0, progress.seconds / self.time_budget))
        rise = min(1.0, (progress.step + 1) / _WARM_UP)
        return self.learning_rate * rise * (0.5 * (1.0 + math.cos(math.pi * done)) + 1e-3)

    def check(self) -> None:
        """Raise UsageError unless every argument is valid."""
        for name in ("steps", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"expected {name} to be a positive whole number, got {value!r}")
        if not 0.0 < self.learning_rate < math.inf:
            raise UsageError(f"expected a positive learning_rate, got {self.learning_rate!r}")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**31:
            raise UsageError(f"expected a seed from 0 to 2**31 - 1, got {self.seed!r}")
        if self.time_budget is not None and not self.time_budget > 0:
            raise UsageError(f"expected a positive time_budget, got {self.time_budget!r}")

    def over(self, progress: Progress, evaluate_every: int) -> bool:
        """Return whether training has ended."""
        if progress.step >= self.steps:
            return True
        if self.time_budget is not None and progress.seconds >= self.time_budget:
            return True
        if self.patience is None:
            return False
        return progress.step - progress.best_step > self.patience * evaluate_every
