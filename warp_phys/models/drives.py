"""Drives: what moves the hidden state, u_t of theta_t = A theta_{t-1} + B u_t.

Every drive is causal and looks back over a fixed number of samples, `reach`, so it runs over whole
records and sample by sample in constant memory alike.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from warp_phys.models.scaling import Samples

DriveName = Literal["difference", "raw", "features", "log_difference"]


class Drive(nn.Module):
    """A causal map from the samples' signals (N, T, C) to drives (N, T, width).

    Attributes:
        reach: How many of the last signals a drive depends on.
        width: The width d of u_t.
        signal_width: The width C of the signals.
    """

    reach: int
    width: int
    signal_width: int

    def signals(self, samples: Samples) -> Tensor:
        """Return what the drive reads of each sample, (N, T, C)."""
        raise NotImplementedError

    def forward(self, signals: Tensor) -> Tensor:
        """Return the drive at each sample; zeros stand before the first signal."""
        raise NotImplementedError

    def latest(self, signals: Tensor) -> Tensor:
        """Return the drive (N, width) at the last of `reach` signals (N, reach, C)."""
        return self(signals)[:, -1]


class Difference(Drive):
    """The paper's drive u_t = x_t - x_{t-1}, with the uneven part of the step and a gap flag."""

    reach = 2

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.channels = channels
        self.signal_width = self.width = channels + outputs + 1

    def signals(self, samples: Samples) -> Tensor:
        """Return value, gap flag and step, (N, T, C + O + 1)."""
        return _plain_signals(samples)

    def forward(self, signals: Tensor) -> Tensor:
        """Return differences of the values beside the flags, (N, T, C + O + 1)."""
        values, flags = signals.tensor_split([self.channels], dim=-1)
        previous = F.pad(values, (0, 0, 1, 0))[:, :-1]
        return torch.cat([values - previous, flags], dim=-1)


class Raw(Drive):
    """The samples themselves, u_t = x_t, with the uneven part of the step and a gap flag."""

    reach = 1

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.signal_width = self.width = channels + outputs + 1

    def signals(self, samples: Samples) -> Tensor:
        """Return value, gap flag and step, (N, T, C + O + 1)."""
        return _plain_signals(samples)

    def forward(self, signals: Tensor) -> Tensor:
        """Return the signals unchanged."""
        return signals


class Features(Drive):
    """Learned features of the last `window` samples, u_t = net(x_{t-window+1}, ..., x_t).

    The net is a causal convolution followed by a pointwise perceptron. It also reads the time
    since the first sample and a flag that tells samples from the emptiness before the first.
    """

    def __init__(self, channels: int, outputs: int, *, window: int, width: int) -> None:
        super().__init__()
        self.reach = window
        self.width = width
        self.signal_width = channels + outputs + 3
        self.convolution = nn.Conv1d(self.signal_width, width, window)
        self.perceptron = nn.Sequential(
            nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def signals(self, samples: Samples) -> Tensor:
        """Return value, gap flag, step, elapsed time and presence, (N, T, C + O + 3)."""
        elapsed = samples.elapsed.unsqueeze(-1)
        return torch.cat([_plain_signals(samples), elapsed, torch.ones_like(elapsed)], dim=-1)

    def forward(self, signals: Tensor) -> Tensor:
        """Return the features at each sample, (N, T, width)."""
        count, length, _ = signals.shape
        padded = F.pad(signals, (0, 0, self.reach - 1, 0))
        # (N, T, C, window), and from there samples after one another, as they lie in memory.
        windows = padded.unfold(1, self.reach, 1).mT.flatten(2)
        return self._of_windows(windows.flatten(0, 1)).unflatten(0, (count, length))

    def latest(self, signals: Tensor) -> Tensor:
        """Return the features (N, width) of one window (N, window, C) a trajectory."""
        return self._of_windows(signals.flatten(1))

    def _of_windows(self, windows: Tensor) -> Tensor:
        """Return the features (M, width) of windows (M, window * C).

        The convolution as a product with gathered windows: half the time of `nn.Conv1d`, whose
        parameters it reads, and of its gradient.
        """
        weight = self.convolution.weight.mT.flatten(1)
        hidden = F.linear(windows, weight, self.convolution.bias)
        return cast(Tensor, self.perceptron(hidden))


def _plain_signals(samples: Samples) -> Tensor:
    return torch.cat([samples.signal, samples.missing, samples.step.unsqueeze(-1)], dim=-1)
