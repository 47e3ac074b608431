"""Counter-based random numbers that depend on seed, quantity and trajectory alone.

Each named quantity has its own stream of the counter-based generator Philox, keyed by a hash of
seed and name. Trajectory i uses draws i k to (i + 1) k - 1 of the stream, with the same number k
for every trajectory. Therefore the first trajectories are bit-equal for any number of trajectories,
any block of a data set can be drawn on its own, and omitting one quantity changes no other.

References:
    J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3,
    SC11 (2011), doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

import hashlib
import secrets

import numpy as np
from numpy.typing import NDArray

from warp_phys.systems.errors import UsageError

_LARGEST_SEED = 2**63 - 1

_DRAWS_PER_COUNT = 4
"""64-bit draws that each count of Philox gives."""

_DRAWS_PER_START = 2048
"""Draws that take about as long as starting a stream: fewer are drawn and not used."""


class Streams:
    """The random streams of one seed.

    Args:
        seed: From 0 to 2**63 - 1, or None for a fresh one, which the attribute `seed` holds.
        first: The number of the trajectory to which the first row of each draw belongs.

    Raises:
        UsageError: The seed is not an integer in this range.
    """

    def __init__(self, seed: int | None = None, first: int = 0) -> None:
        if seed is None:
            seed = secrets.randbits(63)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise UsageError(f"expected seed as an integer or None, got {seed!r}")
        if not 0 <= seed <= _LARGEST_SEED:
            raise UsageError(f"expected seed from 0 to 2**63 - 1, got {seed}")
        self.seed = int(seed)
        self.first = int(first)

    def uniform(self, name: str, trajectories: int, per_trajectory: int = 1) -> NDArray[np.float64]:
        """Return uniform numbers in the open interval (0, 1), (trajectories, per_trajectory).

        A number is (k + 1/2) / 2**52 with k from 52 random bits. This is exact in float64, as
        2 k + 1 has 53 bits, symmetric about 1/2, and never 0 or 1, so that every inverse
        distribution function is finite at it.
        """
        stream = np.random.Philox(key=np.frombuffer(self.digest(name), dtype="<u8", count=2))
        # A counter gives four draws: jump to the counter of the first draw, and drop those before
        # it.
        counts, extra = divmod(self.first * per_trajectory, _DRAWS_PER_COUNT)
        bits = stream.advance(counts).random_raw(extra + trajectories * per_trajectory)[extra:]
        # 64 - 12 = 52 bits.
        numbers = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        return numbers.reshape(trajectories, per_trajectory)

    def uniform_at(
        self, name: str, rows: NDArray[np.int64], per_trajectory: int
    ) -> NDArray[np.float64]:
        """Return some rows of `uniform`, (len(rows), per_trajectory).

        Args:
            name: The quantity's name.
            rows: The rows, increasing, counted from `first`.
            per_trajectory: Numbers for each trajectory.
        """
        # Rows close together are drawn as one range, as starting a stream costs more than a few
        # draws.
        far = np.diff(rows) * per_trajectory > _DRAWS_PER_START
        parts = []
        for near in np.split(rows, np.flatnonzero(far) + 1):
            part = Streams(self.seed, self.first + int(near[0]))
            numbers = part.uniform(name, int(near[-1] - near[0]) + 1, per_trajectory)
            parts.append(numbers[near - near[0]])
        return np.concatenate(parts)

    def digest(self, name: str) -> bytes:
        """Return 32 bytes, a hash of the seed and a name."""
        return hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
