"""The repeat-copy task: reproduce the first part of a trajectory again and again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from warp_phys.data_gen.drawing.random_streams import Streams

Floats = NDArray[np.float64]


def cycle_lengths(streams: Streams, n: int, shortest: int, longest: int) -> NDArray[np.int64]:
    """Return how many samples each of n trajectories shows, (n,), uniform, ends included."""
    drawn = streams.uniform("cycle length", n)[:, 0]
    return shortest + np.floor(drawn * (longest - shortest + 1)).astype(np.int64)


def repeat_copy(
    trajectories: Floats, lengths: NDArray[np.int64], gap: int
) -> tuple[Floats, Floats]:
    """Return the input and the target of a sequence model, both (N, T, O).

    The input is the first L samples of each trajectory (the cycle), then zeros. The target is the
    cycle, `gap` zeros, the cycle again, and so on, truncated at the end.

    Args:
        trajectories: (N, T, O).
        lengths: L of each trajectory, (N,).
        gap: Zeros between two cycles.
    """
    samples = np.arange(trajectories.shape[1])
    shown = lengths[:, None]
    within = samples % (shown + gap)
    given = np.where((samples < shown)[:, :, None], trajectories, 0.0)
    # Inside a gap, `within` points to samples after the cycle, where `given` is zero.
    return given, np.take_along_axis(given, within[:, :, None], axis=1)
