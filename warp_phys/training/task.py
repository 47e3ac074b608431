"""The interface between the training loop and a model with its data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn


class TrainingTask(ABC):
    """A network, its loss on training records, and its loss on validation records.

    Attributes:
        network: The network to train.
        count: Number of training records.
        left_out: Number of records that were left out because their simulation failed.
    """

    network: nn.Module
    count: int
    left_out: int = 0

    @abstractmethod
    def loss(self, index: Tensor, place: int) -> Tensor:
        """Return the loss of some training records.

        Args:
            index: (M,) their numbers.
            place: A random sample number, for losses that look at one sample.
        """

    def parts(self, index: Tensor, place: int) -> Iterator[Tensor]:
        """Yield the loss of some training records in parts that add up to it: here in one."""
        yield self.loss(index, place)

    @abstractmethod
    def validation_loss(self) -> float:
        """Return the loss on validation records."""

    @abstractmethod
    def length(self) -> int:
        """Return the number of samples of a record."""

    def finish(self) -> None:  # noqa: B027 (most tasks end with the last step)
        """Complete the training after the last step, with the network in float64 for inference."""

    def describe(self) -> dict[str, Any]:
        """Return a description of the task, by which a checkpoint is matched to it."""
        shapes = {name: list(tensor.shape) for name, tensor in self.network.state_dict().items()}
        return {"records": self.count, "length": self.length(), "tensors": shapes}
