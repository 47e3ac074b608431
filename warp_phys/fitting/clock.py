"""The time budget of a fit."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class Clock:
    """A clock that reports when a time budget is used up, from the first question on.

    Attributes:
        budget: Seconds, or None for no limit.
        begin: When it was first asked: before the first iteration.
    """

    budget: float | None
    begin: float | None = None

    def over(self) -> bool:
        """Return whether the budget is used up."""
        if self.begin is None:
            self.begin = time.perf_counter()
        return self.budget is not None and time.perf_counter() - self.begin > self.budget
