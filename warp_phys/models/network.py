"""The trainable part of a `WarpPhys` model: the core, a head and calibrated bands."""

from __future__ import annotations

from torch import Tensor

from warp_phys.models.calibration import Calibration
from warp_phys.models.choices import Choices
from warp_phys.models.coordinates import Coordinates
from warp_phys.models.core import Core
from warp_phys.models.gaussian import Gaussian
from warp_phys.models.stream import Stream
from warp_phys.models.training_range import Limits


class Network(Core):
    """The core with a head that decodes a distribution over the unknowns from theta_t.

    Args:
        choices: The parts of the model.
        coordinates: The unknowns.
        outputs: Number of observed outputs.
        inputs: Number of known inputs.
        logarithmic: Whether the outputs carry log-normal noise.
    """

    def __init__(
        self,
        choices: Choices,
        coordinates: Coordinates,
        outputs: int,
        inputs: int,
        *,
        logarithmic: bool,
    ) -> None:
        # Random numbers are drawn for the head, the base state, the drive and the recurrence, in
        # this order: changing it would change the weights that a seed gives.
        head, drive = choices.for_training()
        head.build(len(coordinates))
        super().__init__(
            choices.settings,
            drive,
            choices.structure,
            head.base(),
            outputs,
            inputs,
            logarithmic=logarithmic,
        )
        self.head = head.to(self.dtype)
        self.coordinates = coordinates
        self.limits = Limits(outputs, len(coordinates))
        self.calibration = Calibration(len(coordinates))

    def forward(self, signals: Tensor, elapsed: Tensor) -> Gaussian:
        """Return the distribution over the unknowns at every sample."""
        return self.head.over_records(self, signals, elapsed)

    def estimate_step(
        self, stream: Stream, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[Stream, Gaussian]:
        """Process one sample of every sensor, see `Core.step`, and decode the unknowns."""
        memory, theta, elapsed = self.step(stream, times, observed, inputs)
        decoded: Gaussian = self.head(theta, elapsed)
        return memory, decoded
