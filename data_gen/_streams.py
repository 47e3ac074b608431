"""Random numbers that depend on the seed, the quantity's name and the trajectory alone.

Each named quantity has its own counter-based stream and takes the same count of 64-bit draws for
every trajectory, in order. So the first trajectories are bit-equal whatever their number, and
leaving one quantity out changes no other.
"""

from __future__ import annotations

import hashlib
import secrets

import numpy as np
from numpy.typing import NDArray

from warp_phys.systems._errors import UsageError

_LARGEST_SEED = 2**63 - 1


class Streams:
    """The random streams of one seed.

    Args:
        seed: From 0 to 2**63 - 1, or None for a fresh one, which `seed` then tells.

    Raises:
        UsageError: The seed is not such a number.
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is None:
            seed = secrets.randbits(63)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise UsageError(f"expected seed as an integer or None, got {seed!r}")
        if not 0 <= seed <= _LARGEST_SEED:
            raise UsageError(f"expected seed from 0 to 2**63 - 1, got {seed}")
        self.seed = int(seed)

    def uniform(self, name: str, trajectories: int, per_trajectory: int = 1) -> NDArray[np.float64]:
        """Return uniform numbers in the open interval (0, 1), (trajectories, per_trajectory).

        A number is (k + 1/2) / 2**52 with k from 52 random bits: never 0 or 1, symmetric and
        exact, so that every inverse distribution function is finite on it.
        """
        digest = hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
        key = np.frombuffer(digest, dtype="<u8", count=2)
        bits = np.random.Philox(key=key).random_raw(trajectories * per_trajectory)
        numbers = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        return numbers.reshape(trajectories, per_trajectory)
