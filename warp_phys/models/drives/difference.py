"""The drive of the paper: the change from one sample to the next."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from warp_phys.models.drives.drive import Drive, plain_signals
from warp_phys.models.scaling import Samples


class Difference(Drive):
    """u_t = x_t - x_{t-1}, with the gap flags and the deviation of the time step.

    References:
        Nzoyem et al., Weight-space linear recurrent neural networks, arXiv 2506.01153, eq. 1.
    """

    name = "difference"
    reach = 2

    def build(self, channels: int, outputs: int) -> None:
        """Set the widths; there are no parameters."""
        self.channels = channels
        self.signal_width = self.width = channels + outputs + 1

    def signals(self, samples: Samples) -> Tensor:
        """Return value, gap flag and step, (N, T, C + O + 1)."""
        return plain_signals(samples)

    def forward(self, signals: Tensor) -> Tensor:
        """Return differences of the values, and the flags as they are, (N, T, C + O + 1)."""
        values, flags = signals.tensor_split([self.channels], dim=-1)
        # Zeros stand before the first sample, so that u_1 = x_1.
        previous = F.pad(values, (0, 0, 1, 0))[:, :-1]
        return torch.cat([values - previous, flags], dim=-1)
