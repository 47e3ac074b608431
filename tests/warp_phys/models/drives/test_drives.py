"""Drives: the contract, and what each of them is."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from typing_extensions import override

from tests.warp_phys.models.drives.drive_contract import (
    CHANNELS,
    OUTPUTS,
    DriveContract,
    built,
    samples,
)
from tests.warp_phys.models.drives.own_drives import LearnedChange, Rate
from tests.warp_phys.models.model_checks import subclasses_in
from warp_phys.models.drives.difference import Difference
from warp_phys.models.drives.drive import Drive
from warp_phys.models.drives.features import Features
from warp_phys.models.drives.raw import Raw
from warp_phys.models.drives.registry import DRIVES


class TestDifference(DriveContract):
    @override
    def make(self) -> Drive:
        return Difference()


class TestRaw(DriveContract):
    @override
    def make(self) -> Drive:
        return Raw()


class TestFeatures(DriveContract):
    options: ClassVar[dict[str, Any]] = {"window": 4, "width": 8}

    @override
    def make(self) -> Drive:
        return Features(window=4, width=8)


class TestFeaturesOfOneSample(DriveContract):
    options: ClassVar[dict[str, Any]] = {"window": 1, "width": 8}

    @override
    def make(self) -> Drive:
        return Features(window=1, width=8)


class TestFeaturesOfMoreSamplesThanThereAre(DriveContract):
    options: ClassVar[dict[str, Any]] = {"window": 20, "width": 8}

    @override
    def make(self) -> Drive:
        return Features(window=20, width=8)


class TestOwnDrive(DriveContract):
    @override
    def make(self) -> Drive:
        return Rate()


class TestOwnDriveWithWeights(DriveContract):
    @override
    def make(self) -> Drive:
        return LearnedChange()


def test_every_drive_in_the_folder_is_tested() -> None:
    contracts = subclasses_in(globals(), DriveContract)
    tested = {type(contract().make()) for contract in contracts}
    missing = [name for name, drive in DRIVES.items() if drive not in tested]
    assert not missing, f"write a class that inherits DriveContract for {', '.join(missing)}"


def test_the_rate_of_change_divides_by_the_time_step() -> None:
    given_ = samples()
    drive = built(Rate())
    out = drive(drive.signals(replace(given_, step=torch.full_like(given_.step, 0.25))))
    torch.testing.assert_close(out[:, 1:, :CHANNELS], given_.signal.diff(dim=1) / 1.25)
    assert torch.equal(out[..., CHANNELS:-1], given_.missing)
    assert (out[..., -1] == 0.25).all()


def test_difference_is_the_papers() -> None:
    given_ = samples()
    drive = built(Difference())
    out = drive(drive.signals(given_))
    torch.testing.assert_close(out[:, 1:, :CHANNELS], given_.signal.diff(dim=1))
    assert torch.equal(out[..., CHANNELS:-1], given_.missing)
    assert torch.equal(out[..., -1], given_.step)


def test_raw_is_the_sample() -> None:
    given_ = samples()
    drive = built(Raw())
    assert torch.equal(drive(drive.signals(given_))[..., :CHANNELS], given_.signal)


@pytest.mark.parametrize("window", [1, 4])
def test_features_tell_a_sample_from_the_zeros_before_the_first(window: int) -> None:
    given_ = samples()
    drive = built(Features(window=window, width=8))
    signals = drive.signals(given_)
    assert signals.shape[-1] == CHANNELS + OUTPUTS + 3
    assert (signals[..., -1] == 1.0).all()
    assert torch.equal(signals[..., -2], given_.elapsed)
