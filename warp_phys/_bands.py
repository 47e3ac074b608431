"""Bands: a distribution over coordinates as physical values with calibrated ends."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from warp_phys._coordinates import Physical
from warp_phys._gaussian import Gaussian
from warp_phys._network import Network
from warp_phys.systems._errors import UsageError


def check_level(level: float) -> None:
    """Raise UsageError unless a level is a probability that bands can have."""
    if not 0.0 < level < 1.0:
        raise UsageError(f"expected a level between 0 and 1, like 0.9, got {level!r}")


def bands(
    network: Network, estimate: Gaussian, position: Tensor, level: float
) -> tuple[Physical, Physical, Physical]:
    """Return the estimate and the lower and upper end of its central band.

    Args:
        network: Holds coordinates and calibration.
        estimate: (..., Q).
        position: (...) int, samples seen.
        level: Probability inside each unknown's own band.

    Returns:
        Values (the medians of the emitted distribution on the supports), lower and upper ends;
        the ends are NaN where the bands were never calibrated.
    """
    mean = estimate.mean
    decode = network.coordinates.decode
    if not network.calibration.measured:
        value = decode(mean)
        unknown = decode(torch.full_like(mean, torch.nan))
        return value, unknown, unknown
    scale = estimate.standard_deviation()
    tail = 0.5 * (1.0 - level)
    low, high = (network.calibration.offsets(position, p) for p in (tail, 1.0 - tail))
    # Quantiles map onto quantiles; that of a support with an upper bound alone decreases.
    ends = decode(mean + low * scale), decode(mean + high * scale)
    return decode(mean), _each(torch.minimum, *ends), _each(torch.maximum, *ends)


def _each(choose: Callable[[Tensor, Tensor], Tensor], one: Physical, other: Physical) -> Physical:
    return Physical(
        choose(one.parameters, other.parameters),
        choose(one.initial_state, other.initial_state),
        choose(one.noise_sd, other.noise_sd),
    )
