"""The read-out head, a control: a linear state read by a fixed network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from warp_phys.models.core import Core
from warp_phys.models.gaussian import Gaussian, state_size
from warp_phys.models.heads.head import TrainedHead


class Readout(TrainedHead):
    """A control, not WARP-Phys: a linear state without physical meaning, read by a fixed network.

    Args:
        state_size: Size D of the state.
        width: Hidden width of the network.
    """

    name = "readout"
    options = ("state_size", "width")

    def __init__(self, *, state_size: int = 64, width: int = 128) -> None:
        super().__init__()
        self.size = state_size
        self.width = width

    def build(self, coordinates: int) -> None:
        """Draw the network."""
        self.coordinates = coordinates
        width = self.width
        self.network = nn.Sequential(
            nn.Linear(self.size, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, state_size(coordinates)),
        )

    def base(self) -> Tensor:
        """Return zeros."""
        return torch.zeros(self.size)

    def forward(self, theta: Tensor, elapsed: Tensor) -> Gaussian:  # noqa: ARG002 (TrainedHead's)
        """Read the state with the fixed network."""
        return self._read(self.network(theta))

    def over_records(self, core: Core, signals: Tensor, elapsed: Tensor) -> Gaussian:  # noqa: ARG002 (TrainedHead's)
        """Read the states in tiles of time, where all at once would take too much memory."""
        return self._read(core.readings(signals, self.network))

    def _read(self, values: Tensor) -> Gaussian:
        """Return the distribution that the network's outputs (..., state_size(Q)) describe."""
        return Gaussian.from_state(values, self.coordinates)
