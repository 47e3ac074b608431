"""The samples themselves as the drive."""

from __future__ import annotations

from torch import Tensor

from warp_phys.models.drives.drive import Drive, plain_signals
from warp_phys.models.scaling import Samples


class Raw(Drive):
    """u_t = x_t, with the gap flags and the deviation of the time step."""

    name = "raw"
    reach = 1

    def build(self, channels: int, outputs: int) -> None:
        """Set the widths; there are no parameters."""
        self.signal_width = self.width = channels + outputs + 1

    def signals(self, samples: Samples) -> Tensor:
        """Return value, gap flag and step, (N, T, C + O + 1)."""
        return plain_signals(samples)

    def forward(self, signals: Tensor) -> Tensor:
        """Return the signals unchanged."""
        return signals
