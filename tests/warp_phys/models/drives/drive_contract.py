"""The contract every drive keeps: inherit `DriveContract` and make the drive.

class TestRate(DriveContract):
    def make(self):
        return Rate()
"""

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.warp_phys.models.model_checks import (
    assert_file_gives_the_same,
    assert_same_seed_same_bits,
    assert_stream_equals_estimate,
    trained,
)
from warp_phys.models.drives.drive import Drive
from warp_phys.models.drives.registry import DRIVES
from warp_phys.models.scaling import Samples

CHANNELS, OUTPUTS, LENGTH = 3, 2, 12


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def samples(count: int = 4) -> Samples:
    return Samples(
        signal=random(count, LENGTH, CHANNELS),
        missing=random(count, LENGTH, OUTPUTS, seed=1).sign().clamp_min(0.0),
        step=random(count, LENGTH, seed=2),
        elapsed=random(count, LENGTH, seed=3),
    )


def built(drive: Drive) -> Drive:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drive.build(CHANNELS, OUTPUTS)
    return drive.double()


@pytest.mark.filterwarnings("ignore:the bands stay NaN")
class DriveContract:
    """What is tested of one drive; see the module."""

    # Of a drive of the package: the settings of a model that make it as `make` does.
    options: ClassVar[dict[str, Any]] = {}

    def make(self) -> Drive:
        """Return the drive as its user makes it, without parameters."""
        raise NotImplementedError

    def choices(self) -> dict[str, Any]:
        """Return the arguments of a model with this drive."""
        drive = self.make()
        chosen = {"head": "direct", "drive": drive.name if self.is_shipped() else drive}
        return chosen | self.options

    def is_shipped(self) -> bool:
        """Whether the drive comes with the package, so that a name is enough."""
        return type(self.make()) in DRIVES.values()

    def test_it_has_no_parameters_before_it_is_built(self) -> None:
        assert self.make().name
        assert not list(self.make().parameters())

    def test_widths_are_as_declared(self) -> None:
        drive = built(self.make())
        signals = drive.signals(samples())
        assert signals.shape == (4, LENGTH, drive.signal_width)
        assert drive(signals).shape == (4, LENGTH, drive.width)

    # Each drive runs this test as its own; no instance keeps anything between examples.
    @settings(
        max_examples=30, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
    )
    @given(st.integers(0, LENGTH - 1), st.integers(0, 3))
    def test_a_change_is_felt_from_its_sample_on_and_within_reach(
        self, place: int, row: int
    ) -> None:
        drive = built(self.make())
        signals = drive.signals(samples())
        changed = signals.clone()
        changed[row, place] += 1.0
        felt = ((drive(changed) - drive(signals)).abs() > 1e-12).any(dim=-1)
        expected = torch.zeros(4, LENGTH, dtype=torch.bool)
        expected[row, place : place + drive.reach] = True
        assert torch.equal(felt, expected)

    def test_the_last_signals_give_the_last_drive(self) -> None:
        """What streaming relies on: `reach` signals are all there is to remember."""
        drive = built(self.make())
        signals = drive.signals(samples())
        whole = drive(signals)
        for place in range(LENGTH):
            start = max(0, place + 1 - drive.reach)
            recent = signals[:, start : place + 1]
            early = torch.zeros(4, drive.reach - recent.shape[1], drive.signal_width).double()
            last = drive.latest(torch.cat([early, recent], dim=1))
            torch.testing.assert_close(last, whole[:, place], rtol=1e-12, atol=1e-12)

    def test_a_model_with_it_streams_as_it_estimates(self) -> None:
        model = trained(**self.choices())
        assert type(model.built()[0].drive) is type(self.make())
        assert_stream_equals_estimate(model)

    def test_the_same_seed_gives_the_same_bits(self) -> None:
        assert_same_seed_same_bits(**self.choices())

    def test_a_file_gives_the_same_estimates(self, tmp_path: Path) -> None:
        own = {} if self.is_shipped() else {"drive": self.make()}
        assert_file_gives_the_same(trained(**self.choices()), tmp_path / "m.safetensors", **own)
