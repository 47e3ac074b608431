"""A drive as a user writes it."""

import torch
from torch import Tensor, nn
from typing_extensions import override

from warp_phys.models.drives.drive import Drive, plain_signals
from warp_phys.models.scaling import Samples


class Rate(Drive):
    """u_t = W (x_t - x_{t-1}) and the flags, W learned."""

    name = "rate"
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
