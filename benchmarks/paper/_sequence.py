"""What the data-driven rivals share: scaling, contexts, training and forecasts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.paper._models import Budget, Forecast
from benchmarks.paper._tasks import Floats, Split, Task
from warp_phys.models.core import blocks
from warp_phys.training.optimize import optimize
from warp_phys.training.schedule import Schedule
from warp_phys.training.task import TrainingTask

_HARMONICS = 16
# Hidden width of the decoder.
_WIDTH = 128

TIME_FEATURES = 1 + 2 * _HARMONICS
"""Width of `time_features`."""


def time_features(times: Tensor) -> Tensor:
    r"""Return what a network reads of scaled times (T,), which is (T, 33).

    .. math::
        \tau, \; \sin 2 \pi k \tau, \; \cos 2 \pi k \tau, \qquad k = 1, \dots, 16.
    """
    angles = 2.0 * math.pi * times.unsqueeze(1) * torch.arange(1, _HARMONICS + 1)
    return torch.cat([times.unsqueeze(1), angles.sin(), angles.cos()], dim=1)


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of each output over the training set, (O,)."""

    center: Floats
    spread: Floats

    @classmethod
    def of(cls, sequence: Floats) -> Scale:
        """Measure records (N, T, O)."""
        return cls(sequence.mean(axis=(0, 1)), sequence.std(axis=(0, 1)))

    def apply(self, sequence: Floats) -> Tensor:
        """Return records (N, T, O) in standard deviations, float32."""
        return torch.as_tensor((sequence - self.center) / self.spread).float()

    def undo(self, standard: Tensor) -> Floats:
        """Return records in the data's units, float64."""
        values: Floats = standard.double().numpy() * self.spread + self.center
        return values


@dataclass(frozen=True)
class Contexts:
    """What a model may know of N records when it forecasts.

    Attributes:
        samples: (N, T, O) standardized samples; 0 behind the context.
        lengths: (N,) how many samples each context has, at least one.
        times: (T,) scaled to [0, 1] by the last one.
    """

    samples: Tensor
    lengths: Tensor
    times: Tensor

    @classmethod
    def read(cls, split: Split, scale: Scale) -> Contexts:
        """Read the contexts of a split, and nothing behind them."""
        samples, lengths = scale.apply(split.sequence), torch.as_tensor(split.context)
        known = torch.arange(samples.shape[1]) < lengths.unsqueeze(1)
        return cls(
            torch.where(known.unsqueeze(2), samples, 0.0), lengths, scaled_times(split.times)
        )

    @property
    def known(self) -> Tensor:
        """(N, T) bool: which samples are within the context."""
        return torch.arange(len(self.times)) < self.lengths.unsqueeze(1)

    @property
    def first(self) -> int:
        """Number of the first sample that has to be predicted of any record."""
        return int(self.lengths.min())

    def select(self, index: Tensor | slice) -> Contexts:
        """Return some of the records."""
        return Contexts(self.samples[index], self.lengths[index], self.times)

    def readings(self) -> Tensor:
        """Return samples with their times up to the end of the longest context, (N, C, O + 1)."""
        longest = int(self.lengths.max())
        times = self.times[:longest].expand(len(self.lengths), -1).unsqueeze(2)
        return torch.cat([self.samples[:, :longest], times], dim=2)

    def at_end(self, states: Tensor) -> Tensor:
        """Return of states (N, C, D) those at the last samples of the contexts, (N, D)."""
        return states[torch.arange(len(states)), self.lengths - 1]


def scaled_times(times: Floats) -> Tensor:
    """Return sample times (T,) scaled to [0, 1], float32."""
    return torch.as_tensor((times - times[0]) / (times[-1] - times[0])).float()


class FrozenDecoder(nn.Module):
    """Outputs at any time tau from the state at the end of the context: MLP([state, features]).

    Args:
        state: Width of the state.
        outputs: Number of outputs.
    """

    def __init__(self, state: int, outputs: int) -> None:
        super().__init__()
        # One layer in two parts, for it has to see each state and each time only once.
        self.of_state = nn.Linear(state, _WIDTH)
        self.of_time = nn.Linear(TIME_FEATURES, _WIDTH, bias=False)
        self.rest = nn.Sequential(
            nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, outputs)
        )

    def forward(self, state: Tensor, times: Tensor) -> Tensor:
        """Decode states (N, D) at scaled times (M,) to (N, M, O)."""
        hidden = self.of_state(state).unsqueeze(1) + self.of_time(time_features(times))
        decoded: Tensor = self.rest(hidden)
        return decoded


class SequenceTask(TrainingTask):
    """Training of a network to predict the samples behind the context.

    Args:
        network: Maps `Contexts` to standardized outputs (N, T - first, O) from `first` on.
        scale: Of the training set.
        training: Records to learn from.
        validation: Records to be judged on.
    """

    def __init__(self, network: nn.Module, scale: Scale, training: Split, validation: Split):
        self.network = network
        self._training = _Prepared(training, scale)
        self._validation = _Prepared(validation, scale)
        self.count = len(training)

    def loss(self, index: Tensor, place: int) -> Tensor:  # noqa: ARG002 (the protocol's own)
        """Return the mean squared error of some records behind their contexts, standardized."""
        squares, count = self._squares(self._training, index)
        return squares / count

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Return the same of all validation records."""
        total, counted = 0.0, 0
        for piece in blocks(len(self._validation.target), self.length()):
            squares, count = self._squares(self._validation, piece)
            total, counted = total + float(squares), counted + count
        return total / counted

    def length(self) -> int:
        """Return the number of samples of a record."""
        return self._training.target.shape[1]

    def _squares(self, prepared: _Prepared, index: Tensor | slice) -> tuple[Tensor, int]:
        """Return the sum of squared errors behind the contexts, and how many they are."""
        contexts = prepared.contexts.select(index)
        predicted = self.network(contexts)
        error = predicted - prepared.target[index, contexts.first :]
        behind = ~contexts.known[:, contexts.first :].unsqueeze(2)
        counted = int(behind.sum()) * error.shape[2]
        return torch.where(behind, error, 0.0).square().sum(), counted


class _Prepared:
    """Records as a network reads them, and what it has to predict."""

    def __init__(self, split: Split, scale: Scale) -> None:
        self.contexts = Contexts.read(split, scale)
        self.target = scale.apply(split.sequence)


class SequenceModel:
    """A row of the table whose network learns to predict standardized outputs.

    A subclass says in `build` what the network is.
    """

    def __init__(self) -> None:
        self._trained: tuple[nn.Module, Scale] | None = None

    def build(self, outputs: int) -> nn.Module:
        """Return a new network for records of so many outputs, see `SequenceTask`."""
        raise NotImplementedError

    def fit(self, task: Task, budget: Budget) -> float:
        """Learn from `task.train`, choose by `task.validation`.

        Returns:
            The mean squared error behind the context of the validation records, standardized.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(budget.seed)
            network = self.build(task.train.sequence.shape[2])
        scale = Scale.of(task.train.sequence)
        training = SequenceTask(network, scale, task.train, task.validation)
        best = optimize(training, schedule_of(budget)).best
        self._trained = network.eval(), scale
        return best

    @torch.no_grad()
    def forecast(self, task: Task, split: Split) -> Forecast:  # noqa: ARG002 (the protocol's own)
        """Predict the samples behind each record's context; those within it are repeated."""
        network, scale = self._fitted()
        contexts = Contexts.read(split, scale)
        first = contexts.first
        pieces = [
            # Blocks differ in their shortest context; all of them start at the split's.
            _padded(network(contexts.select(piece)), len(contexts.times) - first)
            for piece in blocks(len(split), len(contexts.times))
        ]
        outputs = split.sequence.copy()
        behind = ~contexts.known.numpy()
        outputs[:, first:] = np.where(
            behind[:, first:, None], scale.undo(torch.cat(pieces)), outputs[:, first:]
        )
        return Forecast(outputs)

    def count(self) -> int:
        """Return the number of trained numbers."""
        return count_parameters(self._fitted()[0])

    def _fitted(self) -> tuple[nn.Module, Scale]:
        if self._trained is None:
            raise RuntimeError(f"{type(self).__name__} is not trained yet; call fit first")
        return self._trained


def schedule_of(budget: Budget) -> Schedule:
    """Return the package's own training schedule of a budget."""
    return Schedule(
        loss="",
        steps=budget.steps,
        batch_size=budget.batch_size,
        learning_rate=budget.learning_rate,
        seed=budget.seed,
        time_budget=None,
        patience=None,
    )


def count_parameters(network: nn.Module) -> int:
    """Return the number of trained numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def _padded(predicted: Tensor, length: int) -> Tensor:
    """Return predictions (N, M, O) with zeros in front, (N, length, O)."""
    return nn.functional.pad(predicted, (0, 0, length - predicted.shape[1], 0))
