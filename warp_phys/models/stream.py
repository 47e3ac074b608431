"""The memory of a network between samples of sensors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Stream:
    """The memory of a model between samples of N sensors, of constant size.

    Attributes:
        theta: (N, D) hidden states; None before the first sample.
        signals: (N, reach, C) the last signals.
        start: (N,) time of the first sample.
        elapsed: (N,) time since then.
        seen: (N, O) whether each output was ever measured.
        last: (N, O) its last value.
        count: Samples so far.
    """

    theta: Tensor | None
    signals: Tensor
    start: Tensor
    elapsed: Tensor
    seen: Tensor
    last: Tensor
    count: int

    @property
    def shape(self) -> tuple[int, int]:
        """The number of sensors and of outputs."""
        sensors, outputs = self.last.shape
        return sensors, outputs

    @property
    def time(self) -> Tensor:
        """(N,), the time of the last sample."""
        return self.start + self.elapsed

    def late(self, times: Tensor) -> Tensor:
        """Return which of the next times (N,) do not come after the last sample."""
        # Compared as elapsed times: the sum in `time` rounds where times start late.
        return (times - self.start <= self.elapsed) & (self.count > 0)
