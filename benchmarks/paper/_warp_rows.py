"""WARP, the data-driven variant, as the package trains it: frozen at the end of the context."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

import warp_phys as wp
from benchmarks.paper._models import Budget, Forecast
from benchmarks.paper._tasks import Floats, Split, Task
from warp_phys.models.core import blocks
from warp_phys.records.records import read_records


class Warp:
    """The package's `Warp`, its weights frozen at the end of the context.

    Args:
        told_context: Whether training is for forecasts behind the context alone, else from any
            sample.
        settings: Of `wp.Warp`.
    """

    def __init__(self, *, told_context: bool = True, **settings: Any) -> None:
        self.told_context = told_context
        self.model = wp.Warp(**settings)

    def fit(self, task: Task, budget: Budget) -> float:
        """Train on the whole sequences."""
        history = wp.train(
            self.model,
            sequences(task.train),
            sequences(task.validation),
            steps=budget.steps,
            batch_size=budget.batch_size,
            learning_rate=budget.learning_rate,
            seed=budget.seed,
            patience=None,
            context="context" if self.told_context else None,
            progress=False,
        )
        return float(history["validation_loss"].min())

    @torch.no_grad()
    def forecast(self, task: Task, split: Split) -> Forecast:  # noqa: ARG002 (Model's own)
        """Evaluate the root network on from frozen weights."""
        network = self.model.built()
        records = read_records(sequences(split), None, self.model.outputs)
        signals, elapsed = network.signals(records), network.elapsed(records)
        last = torch.as_tensor(split.context) - 1
        read = int(last.max()) + 1
        parts = []
        for piece in blocks(len(split), read):
            theta = network.states_at(signals[piece, :read], last[piece])
            parts.append(network.physical(network.frozen(theta, elapsed[piece])))
        return Forecast(torch.cat(parts).numpy())

    def count(self) -> int:
        """Return the number of trained numbers."""
        return sum(parameter.numel() for parameter in self.model.built().parameters())

    @torch.no_grad()
    def weights(self, split: Split) -> Floats:
        """Return theta at every sample of every record, (N, T, D)."""
        network = self.model.built()
        records = read_records(sequences(split), None, self.model.outputs)
        return np.asarray(network.states(network.signals(records)).numpy())


def sequences(split: Split) -> xr.Dataset:
    """Return the data set whose `observed` is what a model reads and predicts, with its context."""
    return split.data.assign(
        observed=(("trajectory", "time", "output"), split.sequence),
        context=("trajectory", split.context),
    )
