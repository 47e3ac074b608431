"""The base class of all drives, the inputs u_t of theta_t = A theta_{t-1} + B u_t."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from warp_phys.models.scaling import Samples


class Drive(nn.Module):
    """A causal map from the samples' signals (N, T, C) to drives (N, T, width).

    Every drive depends on a fixed number of samples, `reach`, so that it can process whole records
    at once or, in constant memory, one sample after the other. A drive is created with the choices
    of its user, and sized by `build` once the records are known.

    Attributes:
        name: The value of `drive=` that selects it, which files of models store.
        options: Settings of a model that its constructor takes, by the same names.
        defaults: Settings that a model with this drive has unless the caller chooses others.
        reach: How many of the last signals a drive depends on; known before `build`.
        width: The width d of u_t.
        signal_width: The width C of the signals.

    Example:
        >>> class Rate(Drive):
        ...     '''u_t = (x_t - x_{t-1}) / (t_t - t_{t-1}), with the gap flags and the step.'''
        ...
        ...     name = "my_rate"
        ...     reach = 2
        ...
        ...     def build(self, channels, outputs):
        ...         self.channels = channels
        ...         self.width = self.signal_width = channels + outputs + 1
        ...
        ...     def signals(self, samples):
        ...         return plain_signals(samples)
        ...
        ...     def forward(self, signals):
        ...         values, flags = signals.tensor_split([self.channels], dim=-1)
        ...         change = values.diff(dim=1, prepend=torch.zeros_like(values[:, :1]))
        ...         # `Samples.step` is the time step in typical steps, less one.
        ...         step = (1.0 + flags[..., -1:]).clamp_min(1e-3)
        ...         return torch.cat([change / step, flags], dim=-1)
        >>> from warp_phys import WarpPhys
        >>> WarpPhys("pendulum", head="direct", drive=Rate())
        WarpPhys(pendulum, head=direct, drive=my_rate, structure=diagonal, not trained yet)
    """

    name: ClassVar[str] = ""
    options: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Mapping[str, Any]] = {}
    reach: int
    width: int
    signal_width: int

    def build(self, channels: int, outputs: int) -> None:
        """Set `width` and `signal_width` and make the parameters, drawn from torch's generator.

        Args:
            channels: How many scaled values a sample has, `Samples.signal`.
            outputs: How many outputs are observed, `Samples.missing`.
        """
        raise NotImplementedError

    def signals(self, samples: Samples) -> Tensor:
        """Return the signals of each sample that the drive reads, (N, T, C)."""
        raise NotImplementedError

    def forward(self, signals: Tensor) -> Tensor:
        """Return the drive at each sample, as if zeros stood before the first signal."""
        raise NotImplementedError

    def latest(self, signals: Tensor) -> Tensor:
        """Return the drive (N, width) at the last of `reach` signals (N, reach, C)."""
        latest: Tensor = self(signals)[:, -1]
        return latest


def plain_signals(samples: Samples) -> Tensor:
    """Return value, gap flag and time step of each sample, (N, T, channels + outputs + 1)."""
    return torch.cat([samples.signal, samples.missing, samples.step.unsqueeze(-1)], dim=-1)
