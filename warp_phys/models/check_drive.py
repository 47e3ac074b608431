"""Checks of a user's own drive, which name what is missing or wrong before a model is trained."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from warp_phys.models.drives.drive import Drive
from warp_phys.models.scaling import Samples
from warp_phys.systems.errors import UsageError

# How far streamed and whole drives may differ, relative to the largest: above all rounding.
_TOLERANCE = 1e-5
_TRIALS = 2


def check_reach(drive: Drive) -> None:
    """Raise UsageError unless a drive that was not built yet has its reach."""
    _check_count(drive, "reach", "write reach = 2 if u_t depends on x_t and x_{t-1}")


def check_widths(drive: Drive, channels: int, outputs: int) -> None:
    """Raise UsageError unless a drive has its widths once it is built; the drive stays as it is.

    Args:
        drive: A drive that was not built yet.
        channels: As for `Drive.build`.
        outputs: As for `Drive.build`.
    """
    trial = copy.deepcopy(drive)
    with torch.random.fork_rng(devices=[]):
        trial.build(channels, outputs)
    _check_widths(trial)


def check_built(drive: Drive, channels: int, outputs: int) -> None:
    """Raise UsageError unless a drive that was built gives what it declares, whole and streamed.

    On random samples, the signals of a sample depend on that sample alone, and the last `reach`
    signals give the drive that all of them give; estimates and streams would differ otherwise.

    Args:
        drive: The drive.
        channels: As for `Drive.build`.
        outputs: As for `Drive.build`.
    """
    _check_widths(drive)
    trial = copy.deepcopy(drive).double().eval()
    length = drive.reach + 3
    samples = _random_samples(length, channels, outputs)
    with torch.no_grad():
        signals = trial.signals(samples)
        _check_shape(drive, "signals", signals, length, "signal_width")
        single = [trial.signals(_at(samples, place)) for place in range(length)]
        if not _agree(torch.cat(single, dim=1), signals):
            raise UsageError(
                f"drive {drive.name!r}: expected signals(samples) to read each sample on its own, "
                "but earlier or later samples change what it returns; combine samples in forward"
            )
        whole = trial(signals)
        _check_shape(drive, "forward", whole, length, "width")
        zeros = torch.zeros(_TRIALS, drive.reach, drive.signal_width).double()
        padded = torch.cat([zeros, signals], dim=1)
        windows = padded.unfold(1, drive.reach, 1).mT[:, 1:]
        streamed = torch.stack([trial.latest(window) for window in windows.unbind(1)], dim=1)
    if streamed.shape != whole.shape or not _agree(streamed, whole):
        raise UsageError(
            f"drive {drive.name!r}: expected forward at each sample to depend on the last "
            f"reach = {drive.reach} signals alone, as if zeros preceded the first, but latest of "
            f"these gives other values; increase {type(drive).__name__}.reach, and use no later "
            "signals"
        )


def _check_widths(built: Drive) -> None:
    for name in ("signal_width", "width"):
        _check_count(built, name, f"set self.{name} in build(channels, outputs)")


def _check_count(drive: Drive, name: str, advice: str) -> None:
    value = getattr(drive, name, None)
    if not isinstance(value, int) or value < 1:
        got = "none" if value is None else repr(value)
        raise UsageError(
            f"drive: expected {type(drive).__name__} to have {name}, a positive whole number, got "
            f"{got}; {advice}"
        )


def _check_shape(drive: Drive, method: str, found: Tensor, length: int, name: str) -> None:
    wanted = (_TRIALS, length, getattr(drive, name))
    if tuple(found.shape) != wanted:
        raise UsageError(
            f"drive {drive.name!r}: expected {method} to return shape (N, T, {name}) = {wanted}, "
            f"as {name} is {wanted[-1]}, got {tuple(found.shape)}; set {name} in build to match"
        )


def _random_samples(length: int, channels: int, outputs: int) -> Samples:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(_TRIALS, length, *shape, generator=generator, dtype=torch.float64)

    step = 0.1 * normal().clamp(-3.0, 3.0)
    step[:, 0] = 0.0
    return Samples(
        signal=normal(channels),
        missing=(normal(outputs) > 1.0).double(),
        step=step,
        elapsed=(1.0 + step).cumsum(dim=1) / length,
    )


def _at(samples: Samples, place: int) -> Samples:
    here = slice(place, place + 1)
    return Samples(*(part[:, here] for part in vars(samples).values()))


def _agree(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _TOLERANCE * other.abs().max())
