"""The direct head: the hidden state is the distribution of the unknowns itself."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.models.gaussian import Gaussian, state_size
from warp_phys.models.heads.head import TrainedHead


class Direct(TrainedHead):
    """The hidden state consists of the mean of the unknowns, their scales and couplings."""

    name = "direct"

    def build(self, coordinates: int) -> None:
        """Set the size; there are no parameters."""
        self.coordinates = coordinates
        self.size = state_size(coordinates)

    def base(self) -> Tensor:
        """Return the prior: mean 0, scale 1, no coupling, in standardized coordinates."""
        return torch.zeros(self.size)

    def forward(self, theta: Tensor, elapsed: Tensor) -> Gaussian:  # noqa: ARG002 (TrainedHead's)
        """Split the state into the parameters of the distribution."""
        return Gaussian.from_state(theta, self.coordinates)
