"""Learned causal features of the last few samples as the drive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from warp_phys.models.drives.drive import Drive, plain_signals
from warp_phys.models.scaling import Samples


class Features(Drive):
    """Learned features of the last `window` samples, u_t = net(x_{t-window+1}, ..., x_t).

    The network is a causal convolution followed by a pointwise perceptron. It also reads the time
    since the first sample, and a flag that tells samples from the zeros before the first.

    Args:
        window: How many samples it looks back over.
        width: Width of its layers and of u_t.
    """

    name = "features"
    options = ("window", "width")
    # Features already average over a window, so the state need not remember for long; a decay below
    # 1 keeps it from drifting.
    defaults: ClassVar[Mapping[str, Any]] = {"stable": True, "decay": 0.5}

    def __init__(self, *, window: int = 20, width: int = 128) -> None:
        super().__init__()
        self.reach = window
        self.width = width

    def build(self, channels: int, outputs: int) -> None:
        """Draw the convolution and the perceptron."""
        width = self.width
        self.signal_width = channels + outputs + 3
        self.convolution = nn.Conv1d(self.signal_width, width, self.reach)
        self.perceptron = nn.Sequential(
            nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def signals(self, samples: Samples) -> Tensor:
        """Return value, gap flag, step, elapsed time and presence, (N, T, C + O + 3)."""
        elapsed = samples.elapsed.unsqueeze(-1)
        return torch.cat([plain_signals(samples), elapsed, torch.ones_like(elapsed)], dim=-1)

    def forward(self, signals: Tensor) -> Tensor:
        """Return the features at each sample, (N, T, width)."""
        count, length, _ = signals.shape
        padded = F.pad(signals, (0, 0, self.reach - 1, 0))
        # (N, T, C, window), then the samples of a window as they lie in memory, (N, T, window * C).
        windows = padded.unfold(1, self.reach, 1).mT.flatten(2)
        return self._of_windows(windows.flatten(0, 1)).unflatten(0, (count, length))

    def latest(self, signals: Tensor) -> Tensor:
        """Return the features (N, width) of one window (N, window, C) a trajectory."""
        return self._of_windows(signals.flatten(1))

    def _of_windows(self, windows: Tensor) -> Tensor:
        """Return the features (M, width) of windows (M, window * C).

        The convolution is a product with gathered windows (im2col). Forward and backward it takes
        half the time of `nn.Conv1d`, whose parameters it uses.
        """
        weight = self.convolution.weight.mT.flatten(1)
        hidden = F.linear(windows, weight, self.convolution.bias)
        return cast(Tensor, self.perceptron(hidden))
