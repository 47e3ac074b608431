"""What the study needs of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.paper._tasks import Floats, Split, Task


@dataclass(frozen=True)
class Budget:
    """What every trained model gets.

    Attributes:
        steps: Optimizer steps.
        batch_size: Records a step.
        learning_rate: At its highest.
        seed: Of first weights and order of records.
    """

    steps: int
    batch_size: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Forecast:
    """What a model says of N records, each from its context alone.

    Attributes:
        outputs: (N, T, O) in the data's units; only samples behind the context count. NaN where
            the model failed.
        parameters: Identifiable combinations by name, each (N,); empty for models without.
        failed: How many records failed, for models that can tell; they are NaN in `outputs`.
    """

    outputs: Floats
    parameters: Mapping[str, Floats] = field(default_factory=dict)
    failed: int = 0


class Model(Protocol):
    """A row of the table."""

    def fit(self, task: Task, budget: Budget) -> float:
        """Learn from `task.train`, choose by `task.validation`.

        Returns:
            The validation loss that chose the weights (inf where nothing is trained): the mean
            squared error behind the context in standard deviations of the outputs for forecasters.
        """

    def forecast(self, task: Task, split: Split) -> Forecast:
        """Predict the samples behind each record's context from the samples within it."""

    def count(self) -> int:
        """Return the number of trained numbers."""
