"""The head of the paper: the hidden state holds the weights of a small network of time."""

from __future__ import annotations

from torch import Tensor

from warp_phys.models.core import Core
from warp_phys.models.gaussian import Gaussian, state_size
from warp_phys.models.heads.head import TrainedHead
from warp_phys.models.weight_network import WeightNetwork


class Weights(TrainedHead):
    """The hidden state holds the weights of a small network of time that emits the unknowns.

    Args:
        root_width: Hidden width of that network.

    References:
        Nzoyem et al., Weight-space linear recurrent neural networks, arXiv 2506.01153.
    """

    name = "weights"
    options = ("root_width",)
    default_drive = "difference"

    def __init__(self, *, root_width: int = 16) -> None:
        super().__init__()
        self.root_width = root_width

    def build(self, coordinates: int) -> None:
        """Define the shapes of the network; its weights are the state."""
        self.coordinates = coordinates
        width = self.root_width
        self.root = WeightNetwork([1, width, width, state_size(coordinates)])
        self.size = self.root.size

    def base(self) -> Tensor:
        """Return random weights, small in the last layer so that estimates start near the prior."""
        return self.root.draw(last_gain=0.1)

    def forward(self, theta: Tensor, elapsed: Tensor) -> Gaussian:
        """Evaluate the network with weights `theta` at the time of each state."""
        return self._read(self.root(theta, elapsed.unsqueeze(-1)))

    def over_records(self, core: Core, signals: Tensor, elapsed: Tensor) -> Gaussian:
        """Evaluate the networks during the recurrence, by a fused kernel where there is one."""
        outputs, _ = core.root_outputs(signals, self.root, elapsed.unsqueeze(-1))
        return self._read(outputs)

    def _read(self, values: Tensor) -> Gaussian:
        """Return the distribution that the network's outputs (..., state_size(Q)) describe."""
        return Gaussian.from_state(values, self.coordinates)
