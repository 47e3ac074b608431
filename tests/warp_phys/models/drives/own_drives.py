"""Drives as a user writes them: one without weights, and one whose weights are learned."""

import torch
from torch import Tensor, nn
from typing_extensions import override

from warp_phys.models.drives.drive import Drive, plain_signals
from warp_phys.models.scaling import Samples


class Rate(Drive):
    """u_t = (x_t - x_{t-1}) / (t_t - t_{t-1}), with the gap flags and the step."""

    name = "my_rate"
    reach = 2

    @override
    def build(self, channels: int, outputs: int) -> None:
        self.channels = channels
        self.signal_width = self.width = channels + outputs + 1

    @override
    def signals(self, samples: Samples) -> Tensor:
        return plain_signals(samples)

    @override
    def forward(self, signals: Tensor) -> Tensor:
        values, flags = signals.tensor_split([self.channels], dim=-1)
        change = values.diff(dim=1, prepend=torch.zeros_like(values[:, :1]))
        # `Samples.step` is the time step in typical steps, less one.
        step = (1.0 + flags[..., -1:]).clamp_min(1e-3)
        return torch.cat([change / step, flags], dim=-1)


class LearnedChange(Drive):
    """u_t = W (s_t - s_{t-1}) of all signals s, W learned."""

    name = "my_learned_change"
    reach = 2

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.width = width

    @override
    def build(self, channels: int, outputs: int) -> None:
        self.signal_width = channels + outputs + 1
        self.map = nn.Linear(self.signal_width, self.width, bias=False)

    @override
    def signals(self, samples: Samples) -> Tensor:
        return plain_signals(samples)

    @override
    def forward(self, signals: Tensor) -> Tensor:
        change = signals.diff(dim=1, prepend=torch.zeros_like(signals[:, :1]))
        mapped: Tensor = self.map(change)
        return mapped
