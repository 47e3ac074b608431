"""The trainable part of a `WarpPhys` model: the core, a head and calibrated bands."""

from __future__ import annotations

from torch import Tensor

from warp_phys.models.calibration import Calibration
from warp_phys.models.coordinates import Coordinates
from warp_phys.models.core import Core, Stream
from warp_phys.models.gaussian import Gaussian
from warp_phys.models.heads import Direct, Head, Readout, Weights
from warp_phys.models.settings import Settings
from warp_phys.models.training_range import Limits


class Network(Core):
    """The core with a head that reads a distribution over the unknowns off theta_t.

    Args:
        settings: The model's choices.
        coordinates: The unknowns.
        outputs: Number of observed outputs.
        inputs: Number of known inputs.
        logarithmic: Whether the outputs carry log-normal noise.
    """

    def __init__(
        self,
        settings: Settings,
        coordinates: Coordinates,
        outputs: int,
        inputs: int,
        *,
        logarithmic: bool,
    ) -> None:
        head = _head(settings, len(coordinates))
        super().__init__(settings, head.base(), outputs, inputs, logarithmic=logarithmic)
        self.head = head.to(self.dtype)
        self.coordinates = coordinates
        self.limits = Limits(outputs, len(coordinates))
        self.calibration = Calibration(len(coordinates))

    def forward(self, signals: Tensor, elapsed: Tensor) -> Gaussian:
        """Return the distribution over the unknowns at every sample."""
        if isinstance(self.head, Weights):
            outputs, _ = self.root_outputs(signals, self.head.root, elapsed.unsqueeze(-1))
            return self.head.read(outputs)
        if isinstance(self.head, Readout):
            return self.head.read(self.readings(signals, self.head.network))
        decoded: Gaussian = self.head(self.states(signals), elapsed)
        return decoded

    def estimate_step(
        self, stream: Stream, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[Stream, Gaussian]:
        """Take in one sample of every sensor, see `Core.step`, and read the unknowns."""
        memory, theta, elapsed = self.step(stream, times, observed, inputs)
        decoded: Gaussian = self.head(theta, elapsed)
        return memory, decoded


def _head(settings: Settings, coordinates: int) -> Head:
    if settings.head == "direct":
        return Direct(coordinates)
    if settings.head == "weights":
        return Weights(coordinates, width=settings.root_width)
    return Readout(coordinates, size=settings.state_size, width=settings.width)
