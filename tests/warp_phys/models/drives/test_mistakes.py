"""Drives of a user's own that do not keep the contract: what is wrong is named, and when."""

import re

import pytest
import torch
from torch import Tensor
from typing_extensions import override

import warp_phys as wp
from tests.warp_phys.models.drives.drive_contract import CHANNELS, OUTPUTS
from tests.warp_phys.models.drives.own_drives import LearnedChange, Rate
from warp_phys.models.check_drive import check_built
from warp_phys.models.drives.drive import Drive
from warp_phys.models.drives.features import Features
from warp_phys.models.scaling import Samples
from warp_phys.systems import UsageError


class WithoutForward(Drive):
    """The samples, but for the method that returns them."""

    name = "my_forgotten"
    reach = 1

    @override
    def build(self, channels: int, outputs: int) -> None:
        self.signal_width = self.width = channels

    @override
    def signals(self, samples: Samples) -> Tensor:
        return samples.signal


class Raw(WithoutForward):
    """The samples; the classes below each get one thing wrong."""

    @override
    def forward(self, signals: Tensor) -> Tensor:
        return signals


class WithoutReach(Drive):
    """A drive that does not say how far it looks back."""

    name = "my_forgotten"
    build, signals, forward = Raw.build, Raw.signals, Raw.forward


class WithoutWidth(Raw):
    """A drive that does not say how wide it is."""

    @override
    def build(self, channels: int, outputs: int) -> None:
        self.signal_width = channels


class WithoutSignalWidth(Raw):
    """A drive that does not say how much it reads."""

    @override
    def build(self, channels: int, outputs: int) -> None:
        self.width = channels


class TooNarrow(Raw):
    """A drive that returns more than it declares."""

    @override
    def build(self, channels: int, outputs: int) -> None:
        self.signal_width, self.width = channels, channels - 1


class TooLong(Rate):
    """A drive whose signals are wider than it declares."""

    @override
    def signals(self, samples: Samples) -> Tensor:
        return torch.cat([super().signals(samples)] * 2, dim=-1)


class Average(Raw):
    """A moving average with weights 0.3^k: beyond its reach lies less than a percent of it."""

    reach = 4

    @override
    def forward(self, signals: Tensor) -> Tensor:
        averages = [torch.zeros_like(signals[:, 0])]
        for signal in signals.unbind(1):
            averages.append(0.3 * averages[-1] + 0.7 * signal)
        return torch.stack(averages[1:], dim=1)


class Ahead(Raw):
    """The next sample, which a stream does not have."""

    @override
    def forward(self, signals: Tensor) -> Tensor:
        return signals.roll(-1, dims=1)


class DifferencesAsSignals(Raw):
    """Changes taken where a stream shows one sample at a time."""

    @override
    def signals(self, samples: Samples) -> Tensor:
        return samples.signal.diff(dim=1, prepend=torch.zeros_like(samples.signal[:, :1]))


@pytest.mark.parametrize(
    ("drive", "message"),
    [
        (WithoutForward, "drive: expected WithoutForward to define forward(signals)"),
        (WithoutReach, "drive: expected WithoutReach to have reach, a positive whole number, got"),
        (WithoutWidth, "WithoutWidth to have width, a positive whole number, got none; set self.w"),
        (WithoutSignalWidth, "to have signal_width, a positive whole number, got none; set self"),
    ],
)
def test_what_is_missing_is_named_when_the_model_is_made(drive: type[Drive], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        wp.WarpPhys("pendulum", head="direct", drive=drive())


@pytest.mark.parametrize(
    ("drive", "message"),
    [
        (TooNarrow, "'my_forgotten': expected forward to return shape (N, T, width) = (2, 4, 2), "),
        (TooNarrow, "as width is 2, got (2, 4, 3); set width in build"),
        (TooLong, "'my_rate': expected signals to return shape (N, T, signal_width) = (2, 5, 6)"),
        (
            Average,
            "'my_forgotten': expected forward at each sample to depend on the last reach = 4",
        ),
        (Average, "increase Average.reach"),
        (Ahead, "and use no later signals"),
        (DifferencesAsSignals, "expected signals(samples) to read each sample on its own"),
    ],
)
def test_what_does_not_stream_is_refused(drive: type[Drive], message: str) -> None:
    made = drive()
    made.build(CHANNELS, OUTPUTS)
    with pytest.raises(UsageError, match=re.escape(message)):
        check_built(made, CHANNELS, OUTPUTS)


@pytest.mark.parametrize("drive", [Rate(), LearnedChange(), Features(window=30, width=8)])
def test_what_keeps_the_contract_is_left_as_it_is(drive: Drive) -> None:
    drive.build(CHANNELS, OUTPUTS)
    before = {name: value.clone() for name, value in drive.state_dict().items()}
    check_built(drive, CHANNELS, OUTPUTS)
    assert all(torch.equal(value, before[name]) for name, value in drive.state_dict().items())
    assert drive.training
