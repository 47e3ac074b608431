"""Training of `Warp`: to predict the next sample and, from a frozen state, the later ones."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.models.core import blocks
from warp_phys.models.warp import Warp, WarpNetwork
from warp_phys.records.records import Records, read_records
from warp_phys.systems.errors import UsageError
from warp_phys.training.data import drop_failed
from warp_phys.training.task import TrainingTask


class WarpTask(TrainingTask):
    """Training of a `Warp` model.

    Args:
        model: To be built and trained.
        data: Training data set.
        validation: Validation data set.
        seed: Of the network's first weights.
        context: See `train`.
    """

    def __init__(
        self,
        model: Warp,
        data: xr.Dataset,
        validation: xr.Dataset,
        seed: int,
        context: int | str | None,
    ) -> None:
        data, validation = drop_failed(data), drop_failed(validation)
        records = read_records(data, None)
        if records.times.shape[1] < 2:
            raise UsageError("Warp predicts the next sample; expected at least two a record")
        self.network: WarpNetwork = model.build(records.outputs, seed=seed)
        self.network.scaling.measure(records)
        self.training = _Prepared(self.network, records, read_context(data, context))
        others = read_records(validation, None, records.outputs)
        self.validation = _Prepared(self.network, others, read_context(validation, context))
        self.count = len(records)

    def loss(self, index: Tensor, place: int) -> Tensor:
        """Return the mean squared error of some training records, in scaled outputs."""
        return self._loss(self.training, index, place)

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Return the loss on validation records, theta frozen half-way."""
        count = len(self.validation.signals)
        total = 0.0
        for piece in blocks(count, self.length()):
            index = torch.arange(piece.start, piece.stop)
            total += float(self._loss(self.validation, index, self.length() // 2)) * len(index)
        return total / count

    def length(self) -> int:
        """Return the number of samples of the longest record."""
        return self.training.signals.shape[1]

    def _loss(self, prepared: _Prepared, index: Tensor, place: int) -> Tensor:
        elapsed, target = prepared.elapsed[index], prepared.target[index]
        if prepared.context is not None:
            return self._behind(prepared, index, prepared.context[index])
        following, theta = self.network.following(prepared.signals[index], elapsed, place)
        rest = self.network.frozen(theta, elapsed[:, place:])
        # Half for the next sample, half for the rest of the record from a frozen theta.
        return 0.5 * (
            _mean_square(following, target[:, 1:]) + _mean_square(rest, target[:, place:])
        )

    def _behind(self, prepared: _Prepared, index: Tensor, context: Tensor) -> Tensor:
        """Return the mean squared error after the context, theta frozen at its last sample."""
        read = int(context.max())
        theta = self.network.states_at(prepared.signals[index, :read], context - 1)
        # Samples within the context of every record need not be predicted.
        start = int(context.min())
        predicted = self.network.frozen(theta, prepared.elapsed[index, start:])
        later = torch.arange(start, self.length()) >= context.unsqueeze(1)
        target = prepared.target[index, start:]
        return _mean_square(predicted, torch.where(later.unsqueeze(-1), target, torch.nan))


class _Prepared:
    """The signals of records, their scaled outputs and contexts."""

    def __init__(self, network: WarpNetwork, records: Records, context: Tensor | None) -> None:
        self.context = context
        self.signals = network.signals(records)
        self.elapsed = network.elapsed(records)
        # Targets in standard deviations, so that all outputs weigh alike.
        scaled = (records.observed - network.scaling.center) / network.scaling.spread
        self.target = scaled.to(network.dtype)


def read_context(data: xr.Dataset, context: int | str | None) -> Tensor | None:
    """Return how many samples of each record are read before its forecast, (N,), if settled.

    Raises:
        UsageError: There is no such variable, or a number leaves nothing to read or to predict.
    """
    if context is None:
        return None
    if isinstance(context, str):
        if context not in data or data[context].dims != ("trajectory",):
            raise UsageError(
                f"context: expected a number or the name of a variable (trajectory), got "
                f"{context!r}; the data set has {', '.join(map(str, data.data_vars))}"
            )
        numbers = torch.as_tensor(data[context].values.astype(np.int64))
    elif isinstance(context, int) and not isinstance(context, bool):
        numbers = torch.full((data.sizes["trajectory"],), context, dtype=torch.int64)
    else:
        raise UsageError(
            f"context: expected a whole number or the name of a variable, got {context!r}"
        )
    longest = data["observed"].shape[1]
    wrong = (numbers < 1) | (numbers >= longest)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise UsageError(
            f"context: expected 1 to {longest - 1} of {longest} samples, got {int(numbers[row])} "
            f"for trajectory {data['trajectory'].values[row]}"
        )
    return numbers


def _mean_square(predicted: Tensor, target: Tensor) -> Tensor:
    seen = target.isfinite()
    error = torch.where(seen, predicted - target.nan_to_num(0.0), 0.0)
    return error.square().sum() / seen.sum().clamp_min(1)
