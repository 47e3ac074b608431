"""Drives: causal, and blind to all but the last few samples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from warp_phys.models.drives import Difference, Drive, Features, Raw
from warp_phys.models.scaling import Samples

CHANNELS, OUTPUTS, LENGTH = 3, 2, 12


def drives() -> list[Drive]:
    made: list[Drive] = [Difference(CHANNELS, OUTPUTS), Raw(CHANNELS, OUTPUTS)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made += [Features(CHANNELS, OUTPUTS, window=window, width=8) for window in (1, 4, 20)]
    return [drive.double() for drive in made]


DRIVES = drives()
IDS = [f"{type(drive).__name__}-{drive.reach}" for drive in DRIVES]


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


@pytest.mark.parametrize("drive", DRIVES, ids=IDS)
def test_widths_are_as_declared(drive: Drive) -> None:
    signals = drive.signals(samples())
    assert signals.shape == (4, LENGTH, drive.signal_width)
    assert drive(signals).shape == (4, LENGTH, drive.width)


@pytest.mark.parametrize("drive", DRIVES, ids=IDS)
@settings(max_examples=30)
@given(st.integers(0, LENGTH - 1), st.integers(0, 3))
def test_a_change_is_felt_from_its_sample_on_and_within_reach(
    drive: Drive, place: int, row: int
) -> None:
    signals = drive.signals(samples())
    changed = signals.clone()
    changed[row, place] += 1.0
    felt = ((drive(changed) - drive(signals)).abs() > 1e-12).any(dim=-1)
    expected = torch.zeros(4, LENGTH, dtype=torch.bool)
    expected[row, place : place + drive.reach] = True
    assert torch.equal(felt, expected)


@pytest.mark.parametrize("drive", DRIVES, ids=IDS)
def test_the_last_signals_give_the_last_drive(drive: Drive) -> None:
    """What streaming relies on: `reach` signals are all there is to remember."""
    signals = drive.signals(samples())
    whole = drive(signals)
    for place in range(LENGTH):
        start = max(0, place + 1 - drive.reach)
        recent = signals[:, start : place + 1]
        early = torch.zeros(4, drive.reach - recent.shape[1], drive.signal_width).double()
        last = drive(torch.cat([early, recent], dim=1))[:, -1]
        torch.testing.assert_close(last, whole[:, place], rtol=1e-12, atol=1e-12)


def test_difference_is_the_papers() -> None:
    given_ = samples()
    drive = Difference(CHANNELS, OUTPUTS)
    out = drive(drive.signals(given_))
    torch.testing.assert_close(out[:, 1:, :CHANNELS], given_.signal.diff(dim=1))
    assert torch.equal(out[..., CHANNELS:-1], given_.missing)
    assert torch.equal(out[..., -1], given_.step)


def test_raw_is_the_sample() -> None:
    given_ = samples()
    drive = Raw(CHANNELS, OUTPUTS)
    assert torch.equal(drive(drive.signals(given_))[..., :CHANNELS], given_.signal)


def test_features_tell_a_sample_from_the_emptiness_before_the_first() -> None:
    given_ = samples()
    drive = Features(CHANNELS, OUTPUTS, window=4, width=8)
    signals = drive.signals(given_)
    assert (signals[..., -1] == 1.0).all()
    assert torch.equal(signals[..., -2], given_.elapsed)
