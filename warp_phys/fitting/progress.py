"""The time budget and the progress bar of a fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


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


def moving(bar: Any) -> Callable[[int], None]:
    """Return a function that advances the bar by the groups that have finished."""

    def report(finished: int) -> None:
        bar.update(finished)

    return report
