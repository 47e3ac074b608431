"""A control that knows the physics but not WARP: a GRU that emits the parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.paper._models import Budget, Forecast
from benchmarks.paper._physics import named, physics_outputs
from benchmarks.paper._physics_rows import contexts
from benchmarks.paper._sequence import (
    Contexts,
    Scale,
    count_parameters,
    scaled_times,
    schedule_of,
)
from benchmarks.paper._tasks import Split, Task
from warp_phys.models.coordinates import Coordinates, build_coordinates
from warp_phys.models.core import blocks
from warp_phys.models.gaussian import Gaussian, state_size
from warp_phys.training.data import TrainingData, read_training_data
from warp_phys.training.losses import supervised_loss
from warp_phys.training.optimize import optimize
from warp_phys.training.task import TrainingTask

_HIDDEN = 128


class ParameterGru:
    """A GRU whose state a perceptron reads as parameters and initial state, for physics to run on.

    It is trained as WARP-Phys is: a normal distribution over the standardized unknowns at every
    sample of the training records, by the package's own supervised loss. Of the oscillator it
    learns what free vibration tells, k and c at a mass that is held.
    """

    def __init__(self) -> None:
        self._trained: tuple[_Network, Scale, Coordinates] | None = None

    def fit(self, task: Task, budget: Budget) -> float:
        """Learn from `task.train`, choose by `task.validation`.

        Returns:
            The supervised loss of the validation records, which is no error of a forecast.
        """
        training = _ParameterTask(task, budget.seed)
        best = optimize(training, schedule_of(budget)).best
        self._trained = training.network.eval(), training.scale, training.coordinates
        return best

    @torch.no_grad()
    def forecast(self, task: Task, split: Split) -> Forecast:
        """Run the physics on from what the last sample of each context tells."""
        network, scale, coordinates = self._fitted()
        # The last sample of a repeat-copy context is the zero behind the cycle.
        shown = split.context - 1 if task.cycle_gap is not None else split.context
        contexts = Contexts.read(replace(split, context=shown), scale)
        means = []
        for piece in blocks(len(split), len(contexts.times)):
            part = contexts.select(piece)
            means.append(network.read(part.at_end(network.states(part.readings()))).mean)
        unknowns = coordinates.decode(torch.cat(means).double())
        parameters = unknowns.parameters.numpy()
        outputs = physics_outputs(task, split, parameters, unknowns.initial_state.numpy())
        failed = ~np.isfinite(outputs).all(axis=(1, 2))
        outputs[failed] = np.nan
        return Forecast(outputs, named(task, parameters), int(failed.sum()))

    def count(self) -> int:
        """Return the number of trained numbers."""
        return count_parameters(self._fitted()[0])

    def _fitted(self) -> tuple[_Network, Scale, Coordinates]:
        if self._trained is None:
            raise RuntimeError("ParameterGru is not trained yet; call fit first")
        return self._trained


class _Network(nn.Module):
    """A GRU, and the perceptron that reads its states as a distribution over Q unknowns."""

    def __init__(self, outputs: int, unknowns: int) -> None:
        super().__init__()
        self.unknowns = unknowns
        self.layer = nn.GRU(outputs + 1, _HIDDEN, batch_first=True)
        self.perceptron = nn.Sequential(
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.SiLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.SiLU(),
            nn.Linear(_HIDDEN, state_size(unknowns)),
        )

    def states(self, readings: Tensor) -> Tensor:
        """Return the states (N, T, 128) at samples (N, T, O) with their times, (N, T, O + 1)."""
        states, _ = self.layer(readings)
        return states

    def read(self, states: Tensor) -> Gaussian:
        """Return the distributions that states (..., 128) tell."""
        return Gaussian.from_state(self.perceptron(states), self.unknowns)


class _ParameterTask(TrainingTask):
    """Training of the network, see `training.physics_task.PhysicsTask`, which trains WARP-Phys."""

    network: _Network

    def __init__(self, task: Task, seed: int) -> None:
        training = _held(task, task.train)
        outputs = training.records.outputs
        self.scale = Scale.of(task.train.data["observed"].values)
        self.coordinates = build_coordinates(task.system, training.truth, outputs)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = _Network(len(outputs), len(self.coordinates))
        times = scaled_times(task.train.times)
        self._training = _Prepared(training, self.scale, self.coordinates, times)
        validation = _held(task, task.validation)
        self._validation = _Prepared(validation, self.scale, self.coordinates, times)
        self.count = len(training.records)

    def loss(self, index: Tensor, place: int) -> Tensor:  # noqa: ARG002 (the protocol's own)
        """Return the supervised loss of some training records, over their contexts."""
        return self._loss(self._training, index)

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Return the same of all validation records."""
        count, total = len(self._validation.truth), 0.0
        for piece in blocks(count, self.length()):
            part = float(self._loss(self._validation, piece))
            total += part * len(self._validation.truth[piece])
        return total / count

    def length(self) -> int:
        """Return the number of samples of a record."""
        return self._training.readings.shape[1]

    def _loss(self, prepared: _Prepared, index: Tensor | slice) -> Tensor:
        readings = prepared.readings[index]
        estimate = self.network.read(self.network.states(readings))
        return supervised_loss(estimate, prepared.truth[index], prepared.seen[index])


class _Prepared:
    """Contexts as the network reads them, and their true coordinates."""

    def __init__(
        self, data: TrainingData, scale: Scale, coordinates: Coordinates, times: Tensor
    ) -> None:
        self.seen = data.records.seen.all(dim=2)
        samples = scale.apply(data.records.observed.numpy()).nan_to_num(0.0)
        grid = times[: samples.shape[1]].expand(len(samples), -1).unsqueeze(2)
        self.readings = torch.cat([samples, grid], dim=2)
        self.truth = coordinates.encode(data.truth).float()


def _held(task: Task, split: Split) -> TrainingData:
    """Return the contexts of a split with the truth at the mass that is held."""
    return read_training_data(contexts(task, split), task.system)
