"""The time budget of a fit."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class Clock:
    """A clock that reports when a time budget is used up."""

    budget: float | None

    def __post_init__(self) -> None:
        self.begin = time.perf_counter()

    def over(self) -> bool:
        """Return whether the budget is used up."""
        return self.budget is not None and time.perf_counter() - self.begin > self.budget
