"""Training of `Warp`: predict the next sample and, from a frozen state, the rest of the record."""

from __future__ import annotations

import torch
import xarray as xr
from torch import Tensor

from warp_phys._core import blocks
from warp_phys._records import Records, read_records
from warp_phys._training_data import drop_failed
from warp_phys._warp import Warp, WarpNetwork
from warp_phys.systems._errors import UsageError


class WarpTask:
    """Training of a `Warp` model.

    Args:
        model: To be built and trained.
        data: Training data set.
        validation: Validation data set.
        seed: Of the network's first weights.
    """

    def __init__(self, model: Warp, data: xr.Dataset, validation: xr.Dataset, seed: int) -> None:
        records = read_records(drop_failed(data), None)
        if records.times.shape[1] < 2:
            raise UsageError("Warp predicts the next sample; expected at least two a record")
        self._network = model.build(records.outputs, seed=seed)
        self._network.scaling.measure(records)
        self.training = _Prepared(self._network, records)
        self.validation = _Prepared(
            self._network, read_records(drop_failed(validation), None, records.outputs)
        )
        self.count = len(records)
        self.left_out = 0

    @property
    def network(self) -> WarpNetwork:
        """What is trained."""
        return self._network

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

    def finish(self) -> None:
        """Nothing follows: there are no unknowns to calibrate."""

    def length(self) -> int:
        """Return the number of samples of the longest record."""
        return self.training.signals.shape[1]

    def _loss(self, prepared: _Prepared, index: Tensor, place: int) -> Tensor:
        elapsed, target = prepared.elapsed[index], prepared.target[index]
        following, theta = self._network.following(prepared.signals[index], elapsed, place)
        rest = self._network.frozen(theta, elapsed[:, place:])
        return 0.5 * (
            _mean_square(following, target[:, 1:]) + _mean_square(rest, target[:, place:])
        )


class _Prepared:
    """Records as the network reads them, and their scaled outputs."""

    def __init__(self, network: WarpNetwork, records: Records) -> None:
        self.signals = network.signals(records)
        self.elapsed = network.elapsed(records)
        scaled = (records.observed - network.scaling.center) / network.scaling.spread
        self.target = scaled.to(network.dtype)


def _mean_square(predicted: Tensor, target: Tensor) -> Tensor:
    seen = target.isfinite()
    error = torch.where(seen, predicted - target.nan_to_num(0.0), 0.0)
    return error.square().sum() / seen.sum().clamp_min(1)
