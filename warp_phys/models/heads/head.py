"""The base classes of all heads: those whose network is trained, and those without training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from warp_phys.models.core import Core
from warp_phys.models.estimator import Estimator
from warp_phys.models.gaussian import Gaussian
from warp_phys.systems.model.system import System


class Head(ABC):
    """The meaning of the hidden state, and its decoding into estimates.

    Attributes:
        name: The value of `head=` that selects it, which files of models store.
        options: Settings of a model that its constructor takes, by the same names.
        arguments: Arguments of a model that its constructor takes, besides plain settings.
        trains: Whether it must be trained before it can estimate.
        drives: None where any `Drive` may be used; otherwise the names of the drives that the head
            implements itself, possibly none.
        default_drive: Name of the drive unless the caller chooses another.
    """

    name: ClassVar[str] = ""
    options: ClassVar[tuple[str, ...]] = ()
    arguments: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool]
    drives: ClassVar[tuple[str, ...] | None] = None
    default_drive: ClassVar[str] = "features"

    def check(self, system: System) -> None:  # noqa: B027 (most heads suit every system)
        """Raise UsageError unless the head suits a system."""

    @abstractmethod
    def estimator(self, system: System, trained: Callable[[], Estimator]) -> Estimator:
        """Return the estimator for records of a system.

        Args:
            system: The physics.
            trained: Returns the estimator of the trained network; it raises UsageError where
                there is none yet.
        """


class TrainedHead(Head, nn.Module):
    """A map from hidden states to normal distributions over Q coordinates, trained with the core.

    It is created with the choices of its user, and sized by `build` once the unknowns are known.

    Attributes:
        size: The size D of the hidden state.

    Example:
        >>> import torch
        >>> from warp_phys import WarpPhys
        >>> from warp_phys.models.gaussian import state_size
        >>> class Linear(TrainedHead):
        ...     '''A state of any size, read by one matrix.'''
        ...
        ...     name = "my_linear"
        ...
        ...     def __init__(self, size):
        ...         super().__init__()
        ...         self.size = size
        ...
        ...     def build(self, coordinates):
        ...         self.coordinates = coordinates
        ...         self.matrix = nn.Linear(self.size, state_size(coordinates))
        ...
        ...     def base(self):
        ...         return torch.zeros(self.size)
        ...
        ...     def forward(self, theta, elapsed):
        ...         return Gaussian.from_state(self.matrix(theta), self.coordinates)
        >>> WarpPhys("pendulum", head=Linear(32))
        WarpPhys(pendulum, head=my_linear, drive=features, structure=diagonal, not trained yet)
    """

    trains = True
    size: int

    def build(self, coordinates: int) -> None:
        """Set `size` and make the parameters, drawn from torch's generator.

        Args:
            coordinates: The number Q of unknowns.
        """
        raise NotImplementedError

    def base(self) -> Tensor:
        """Return the hidden state (D,) that training starts from."""
        raise NotImplementedError

    def forward(self, theta: Tensor, elapsed: Tensor) -> Gaussian:
        """Decode hidden states (..., D) at scaled times (...)."""
        raise NotImplementedError

    def over_records(self, core: Core, signals: Tensor, elapsed: Tensor) -> Gaussian:
        """Decode the states at every sample of whole records, all of them at once.

        A head that does not need all states at once overrides this.

        Args:
            core: Computes the states.
            signals: (N, T, C), the signals that the drive of the core reads.
            elapsed: (N, T) scaled times.
        """
        decoded: Gaussian = self(core.states(signals), elapsed)
        return decoded

    def estimator(self, system: System, trained: Callable[[], Estimator]) -> Estimator:  # noqa: ARG002 (Head's own)
        """Return the trained network's estimator."""
        return trained()
