"""Bands: the median and the calibrated quantiles of each unknown in physical values."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.models.coordinates import Physical
from warp_phys.models.gaussian import Gaussian
from warp_phys.models.network import Network
from warp_phys.systems.errors import UsageError


def check_level(level: float) -> None:
    """Raise UsageError unless a level is a probability between 0 and 1."""
    if not 0.0 < level < 1.0:
        raise UsageError(f"expected a level between 0 and 1, like 0.9, got {level!r}")


def bands(
    network: Network, estimate: Gaussian, position: Tensor, level: float
) -> tuple[Physical, Physical, Physical]:
    """Return the estimate and the lower and upper end of its central band.

    Args:
        network: Holds coordinates and calibration.
        estimate: (..., Q).
        position: (...) int, number of samples seen; or one number for all, shape (1,).
        level: Probability inside the marginal band of each unknown.

    Returns:
        Values (the medians of the emitted distribution on the supports), lower and upper ends;
        the ends are NaN where the bands were never calibrated.
    """
    mean = estimate.mean
    if network.calibration.measured:
        scale = estimate.standard_deviation()
        tail = 0.5 * (1.0 - level)
        offsets = (network.calibration.offsets(position, p) for p in (tail, 1.0 - tail))
        ends = [mean + offset.to(mean.dtype) * scale for offset in offsets]
    else:
        ends = [torch.full_like(mean, torch.nan)] * 2
    found = network.coordinates.decode(torch.stack([mean, *ends]))
    parts = found.parameters, found.initial_state, found.noise_sd
    # A monotonic bijection maps quantiles onto quantiles; the one of a support with an upper bound
    # alone decreases, which exchanges the ends.
    return (
        Physical(*(part[0] for part in parts)),
        Physical(*(torch.minimum(part[1], part[2]) for part in parts)),
        Physical(*(torch.maximum(part[1], part[2]) for part in parts)),
    )
