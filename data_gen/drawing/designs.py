"""Designs: how the uniform numbers behind all drawn quantities fill the unit cube together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.systems.errors import UsageError

Sampling: TypeAlias = Literal["random", "sobol", "latin_hypercube"]
"""Independent numbers, a scrambled Sobol' sequence, or a Latin hypercube of the whole data set."""

_SOBOL_BITS = 32
_BELOW_ONE = 1.0 - 2.0**-53

_ROUNDS = 6
"""Rounds of the permutation; from four on such a permutation passes for a random one."""

_FEWEST_BITS = 3
"""Least bits of half a number: with fewer there are too few round functions to choose from."""


def check_sampling(sampling: object) -> None:
    """Raise UsageError where this is no design."""
    choices = get_args(Sampling)
    if sampling not in choices:
        listing = ", ".join(f'"{choice}"' for choice in choices)
        raise UsageError(f"expected sampling as one of {listing}, got {sampling!r}")


def unit_points(
    streams: Streams, names: Sequence[str], n: int, count: int, sampling: Sampling
) -> NDArray[np.float64]:
    """Return one point strictly inside the unit cube for each trajectory, (count, names).

    Args:
        streams: The random streams, from the first trajectory wanted on.
        names: The quantities drawn, one column each.
        n: Number of trajectories of the whole data set.
        count: Number of trajectories wanted.
        sampling: "random": a column depends on the seed and its name. "sobol": a row depends on
            the seed and the number of columns, not on n. "latin_hypercube": each column has one
            point in each of n equal strata; it depends on the seed, its name and n.
    """
    points = np.empty((count, len(names)))
    if sampling == "sobol":
        return _sobol(streams, len(names), count) if names else points
    for column, name in enumerate(names):
        points[:, column] = streams.uniform(name, count)[:, 0]
        if sampling == "latin_hypercube":
            strata = permuted(np.arange(streams.first, streams.first + count), n, streams, name)
            points[:, column] = np.minimum((strata + points[:, column]) / n, _BELOW_ONE)
    return points


def _sobol(streams: Streams, columns: int, count: int) -> NDArray[np.float64]:
    """Return scrambled points (random matrix and shift), each mid in its cell of 2**-32.

    Source: J. Matousek, On the L2-discrepancy for anchored boxes, J. Complexity 14 (1998), 527-556.
    """
    generator = np.random.default_rng(int.from_bytes(streams.digest("sobol")[:16], "little"))
    engine = qmc.Sobol(columns, scramble=True, bits=_SOBOL_BITS, seed=generator)
    points = np.empty((count, columns))
    start = 0
    if streams.first > 0:
        engine.fast_forward(streams.first)
    else:
        # One first: SciPy warns where the first draw is no power of two, balanced or not.
        points[0] = engine.random(1)
        start = 1
    if count > start:
        points[start:] = engine.random(count - start)
    return points + 0.5 * 2.0**-_SOBOL_BITS


def permuted(rows: NDArray[np.int64], n: int, streams: Streams, name: str) -> NDArray[np.int64]:
    """Return where a random permutation of 0..n-1 takes these numbers, of the shape of `rows`.

    A Feistel network permutes the numbers of an even count of bits, and what lands at n or above
    is permuted again until it is below. So a block needs no more memory than itself, where a
    shuffled list would need all n numbers in every process.

    Source: J. Black, P. Rogaway, Ciphers with arbitrary finite domains, CT-RSA 2002 (the
    generalized Feistel and the cycle-walking cipher).
    """
    half = np.uint64(max(_FEWEST_BITS, ((n - 1).bit_length() + 1) // 2))
    keys = np.frombuffer(
        streams.digest(f"{name}, strata") + streams.digest(f"{name}, more strata"), dtype="<u8"
    )[:_ROUNDS]
    values = _permuted_bits(rows.astype(np.uint64), half, keys)
    outside = np.flatnonzero(values >= n)
    while outside.size:
        values[outside] = _permuted_bits(values[outside], half, keys)
        outside = outside[values[outside] >= n]
    return values.astype(np.int64)


def _permuted_bits(
    values: NDArray[np.uint64], half: np.uint64, keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Permute the numbers of 2 half bits: (left, right) -> (right, left xor mixed(right))."""
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return (left << half) | right


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64 bits thoroughly: the finalizer of splitmix64 (Steele, Lea and Flood, 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
