"""Training of a `WarpPhys` model: its losses on simulated or measured records."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Literal, get_args

import torch
import xarray as xr
from torch import Tensor

from warp_phys.models.calibration import FEWEST_RECORDS
from warp_phys.models.coordinates import build_coordinates
from warp_phys.models.core import blocks
from warp_phys.models.gaussian import Gaussian
from warp_phys.models.network import Network
from warp_phys.models.training_facts import TrainingFacts
from warp_phys.models.warp_phys import WarpPhys
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.training.data import TrainingData, read_training_data
from warp_phys.training.losses import reconstruction_loss, supervised_loss
from warp_phys.training.task import TrainingTask

LossName = Literal["auto", "supervised", "reconstruction", "both"]

# Records of a validation loss, which need not be more precise; bands use all validation records.
_JUDGED = 2048

# Samples per thread in one backward pass: their activations stay in the cache, while those of a
# whole batch are written to memory and read back.
_IN_CACHE = 4096


class PhysicsTask(TrainingTask):
    """Training of a `WarpPhys` model.

    Args:
        model: To be built and trained.
        data: Training data set.
        validation: Validation data set.
        loss: See `train`.
        seed: Of the network's first weights.
    """

    def __init__(
        self, model: WarpPhys, data: xr.Dataset, validation: xr.Dataset, loss: str, seed: int
    ) -> None:
        training = read_training_data(data, model.system)
        self.loss_name = _loss_name(loss, supervised=training.supervised)
        self.model = model
        facts = TrainingFacts(
            training.records.outputs,
            training.distribution,
            len(training.records),
            supervised=training.supervised,
            noise_settings=training.noise_settings,
        )
        coordinates = build_coordinates(model.system, training.truth, facts.outputs)
        _check_unknowns(len(coordinates), model)
        self.network: Network = model.build(facts, coordinates, seed=seed)
        # Scaling first, because the signals of `_Prepared` depend on it.
        self.network.scaling.measure(training.records)
        truth = coordinates.encode(training.truth)
        self.network.limits.measure(training.records, truth)
        self.training = _Prepared(self.network, training)
        self.validation = _Prepared(
            self.network, read_training_data(validation, model.system, facts.outputs)
        )
        self.count = len(training.records)
        self.left_out = training.left_out

    def loss(self, index: Tensor, place: int) -> Tensor:
        """Return the loss of some training records."""
        return self._loss(self.training, index, place)

    def parts(self, index: Tensor, place: int) -> Iterator[Tensor]:
        """Yield the loss of some training records in parts that add up to it.

        Parts of few records stay in the cache. This pays where A acts on each state alone; for
        other structures one matrix product for all records is faster than several smaller ones.
        """
        divisible = self.model.choices.structure.elementwise
        if self.loss_name != "supervised" or not divisible:
            yield self.loss(index, place)
            return
        counts = self.training.data.records.times[index].isfinite().sum(dim=1)
        size = max(1, torch.get_num_threads() * _IN_CACHE // self.length())
        for piece, count in zip(index.split(size), counts.split(size), strict=True):
            # The loss is a mean over samples: parts are weighted by their share of the samples.
            yield self.loss(piece, place) * (int(count.sum()) / int(counts.sum()))

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Return the loss on validation records, each block weighted by its records."""
        count = min(_JUDGED, len(self.validation.data.records))
        total = 0.0
        for piece in blocks(count, self.length()):
            index = torch.arange(piece.start, piece.stop)
            total += float(self._loss(self.validation, index, self.length() // 2)) * len(index)
        return total / count

    def length(self) -> int:
        """Return the number of samples of the longest record."""
        return self.training.signals.shape[1]

    @torch.no_grad()
    def finish(self) -> None:
        """Calibrate the bands on the validation records."""
        held = self.validation
        if not (self.training.data.supervised and held.data.supervised):
            return
        if len(held.data.records) < FEWEST_RECORDS:
            warnings.warn(
                f"the bands stay NaN: calibrating them takes at least {FEWEST_RECORDS} validation "
                f"records, got {len(held.data.records)}; simulate more, or pass validation=",
                stacklevel=4,
            )
        truth = self.network.coordinates.encode(held.data.truth)
        self.network.calibration.measure(self._emitted(held), truth, held.data.records.valid)

    def _emitted(self, prepared: _Prepared) -> Gaussian:
        """Return the distributions at every sample, in float64."""
        # Bands are applied to estimates in float64, and so are calibrated on such.
        signals, elapsed = prepared.signals.double(), prepared.elapsed.double()
        pieces = [
            self.network(signals[piece], elapsed[piece])
            for piece in blocks(len(prepared.data.records), self.length())
        ]
        parts = ([getattr(p, name) for p in pieces] for name in ("mean", "log_scale", "coupling"))
        return Gaussian(*(torch.cat(part) for part in parts))

    def _loss(self, prepared: _Prepared, index: Tensor, place: int) -> Tensor:
        estimate = self.network(prepared.signals[index], prepared.elapsed[index])
        loss = estimate.mean.new_zeros(())
        if self.loss_name != "reconstruction":
            valid = prepared.data.records.times[index].isfinite()
            loss = loss + supervised_loss(estimate, prepared.truth[index], valid)
        if self.loss_name != "supervised":
            records = prepared.data.records.select(index)
            unknowns = self.network.coordinates.decode(estimate.mean)
            loss = loss + reconstruction_loss(self.model, records, unknowns, place)
        return loss


class _Prepared:
    """The signals of records, and their true coordinates."""

    def __init__(self, network: Network, data: TrainingData) -> None:
        self.data = data
        self.signals = network.signals(data.records)
        self.elapsed = network.elapsed(data.records)
        self.truth = torch.zeros(0)
        if data.supervised:
            truth = network.coordinates.encode(data.truth)
            self.truth = truth.to(network.dtype)


def _loss_name(loss: str, *, supervised: bool) -> str:
    if loss not in get_args(LossName):
        raise unknown_name("loss", loss, get_args(LossName))
    if loss == "auto":
        return "supervised" if supervised else "reconstruction"
    if loss != "reconstruction" and not supervised:
        raise UsageError(
            f"loss={loss!r} needs 'true_parameters' in the training data; use "
            "loss='reconstruction' for measured records"
        )
    return loss


def _check_unknowns(count: int, model: WarpPhys) -> None:
    if not count:
        raise UsageError(
            f"no parameter of {model.system.name} varies over the training data, so there is "
            "nothing to learn; simulate with ranges or distributions"
        )
