"""The memory of the information head between samples of sensors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from warp_phys.models.information.interval import Position
from warp_phys.models.information.running import Running
from warp_phys.models.information.window import Window


@dataclass(frozen=True)
class InformationMemory:
    """What is known about N sensors, and their last samples: of bounded size.

    Attributes:
        running: What is known.
        position: Where the sensors are at the last sample, at the point of the linearization.
        sensitivity: (N, S, D), derivatives of the states there by the coordinates.
        kept: The last samples, at most `keep`, each (N, 1 + O + I): time, outputs and inputs.
        window: Where they begin, if older ones were dropped.
        count: Samples so far.
        keep: How many samples are kept at most.
    """

    running: Running
    position: Position
    sensitivity: Tensor
    kept: tuple[Tensor, ...]
    window: Window | None
    count: int
    keep: int

    @property
    def shape(self) -> tuple[int, int]:
        """The number of sensors and of outputs."""
        sensors, outputs = self.running.size.shape
        return sensors, outputs

    @property
    def time(self) -> Tensor:
        """(N,), the time of the last sample."""
        return self.position.time

    def late(self, times: Tensor) -> Tensor:
        """Return which of the next times (N,) do not come after the last sample."""
        # Before the first sample the time is NaN, which nothing is compared with.
        return times <= self.time
