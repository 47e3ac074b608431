"""WARP as the paper scored it on repeat-copy: over the whole sequence, each target shown to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.paper._models import Budget, Forecast
from benchmarks.paper._sequence import (
    TIME_FEATURES,
    Scale,
    count_parameters,
    scaled_times,
    schedule_of,
    time_features,
)
from benchmarks.paper._tasks import Split, Task
from warp_phys.models.initial_state import InitialState
from warp_phys.models.weight_network import WeightNetwork
from warp_phys.recurrence.layer import LinearRecurrence
from warp_phys.recurrence.networks.outputs import root_outputs
from warp_phys.training.optimize import optimize
from warp_phys.training.task import TrainingTask

_ROOT_WIDTH = 16


class WarpTeacherForced:
    """theta_t, driven up to x_t itself, decoded at its own time and compared with x_t.

    It sees what it has to predict, so its error says how well a state holds the last sample, and
    nothing about forecasts. Its outputs count over all samples, not behind the context.
    """

    def __init__(self) -> None:
        self._trained: tuple[_Network, Scale] | None = None

    def fit(self, task: Task, budget: Budget) -> float:
        """Learn from whole sequences; return the mean square over the validation set's."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(budget.seed)
            network = _Network(task.train.sequence.shape[2])
        scale = Scale.of(task.train.sequence)
        training = _Reconstruction(
            network,
            scale.apply(task.train.sequence),
            scale.apply(task.validation.sequence),
            scaled_times(task.train.times),
            len(task.train),
        )
        best = optimize(training, schedule_of(budget)).best
        self._trained = network.eval(), scale
        return best

    @torch.no_grad()
    def forecast(self, task: Task, split: Split) -> Forecast:  # noqa: ARG002 (Model's own)
        """Return what each state says of its own sample."""
        assert self._trained is not None
        network, scale = self._trained
        times = scaled_times(split.times)
        parts = [network(piece, times) for piece in scale.apply(split.sequence).split(256)]
        return Forecast(np.asarray(scale.undo(torch.cat(parts))))

    def count(self) -> int:
        """Return the number of trained numbers."""
        assert self._trained is not None
        return count_parameters(self._trained[0])


class _Network(nn.Module):
    """A diagonal recurrence driven by differences, and a root network of time."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.root = WeightNetwork([TIME_FEATURES, _ROOT_WIDTH, _ROOT_WIDTH, outputs])
        self.initial = InitialState(outputs, self.root.draw(), width=128)
        self.recurrence = LinearRecurrence(self.root.size, outputs, structure="diagonal")

    def forward(self, samples: Tensor, times: Tensor) -> Tensor:
        """Return outputs (N, T, O) of samples (N, T, O)."""
        points = time_features(times).expand(len(samples), -1, -1)
        outputs, _ = root_outputs(
            self.recurrence.transition(),
            self.recurrence.input_matrix,
            samples.diff(dim=1),
            self.initial(samples[:, 0]),
            self.root.shapes,
            points.contiguous(),
            0,
        )
        return outputs


@dataclass
class _Reconstruction(TrainingTask):
    """Training of the network to return what it was given."""

    network: _Network
    training: Tensor
    validation: Tensor
    times: Tensor
    count: int

    def loss(self, index: Tensor, place: int) -> Tensor:  # noqa: ARG002 (the protocol's own)
        """Return the mean squared error of some records over all samples."""
        samples = self.training[index]
        error = self.network(samples, self.times) - samples
        return error.square().mean()

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Return the same of the validation records."""
        return float((self.network(self.validation, self.times) - self.validation).square().mean())

    def length(self) -> int:
        """Return the number of samples of a record."""
        return self.training.shape[1]
