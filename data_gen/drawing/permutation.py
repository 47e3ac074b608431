"""A pseudorandom permutation of 0..n-1, any part of which can be computed alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from warp_phys.data_gen.drawing.random_streams import Streams

_ROUNDS = 6
"""Rounds of the permutation; four are enough for it to pass for a random one."""

_FEWEST_BITS = 3
"""Least bits of half a number: with fewer there are too few round functions to choose from."""


def permuted(rows: NDArray[np.int64], n: int, streams: Streams, name: str) -> NDArray[np.int64]:
    """Return the images of numbers under a random permutation of 0..n-1, in the shape of `rows`.

    A Feistel network permutes the numbers with an even number of bits; images of n or above are
    permuted again until they are below n (cycle walking). A block therefore only needs memory for
    itself, whereas a shuffled list would need all n numbers in every process.

    Source: J. Black, P. Rogaway, Ciphers with arbitrary finite domains, CT-RSA 2002 (the
    generalized Feistel and the cycle-walking cipher).
    """
    # 2 half bits cover 0..n-1. The domain has at most 4 n numbers (64 for small n), so that few
    # images need another pass.
    half = np.uint64(max(_FEWEST_BITS, ((n - 1).bit_length() + 1) // 2))
    keys = np.frombuffer(
        streams.digest(f"{name}, strata") + streams.digest(f"{name}, more strata"), dtype="<u8"
    )[:_ROUNDS]
    values = _permuted_bits(rows.astype(np.uint64), half, keys)
    # This ends, as the cycle that starts below n returns below n.
    outside = np.flatnonzero(values >= n)
    while outside.size:
        values[outside] = _permuted_bits(values[outside], half, keys)
        outside = outside[values[outside] >= n]
    return values.astype(np.int64)


def _permuted_bits(
    values: NDArray[np.uint64], half: np.uint64, keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Permute numbers with 2 half bits: (left, right) -> (right, left xor mixed(right xor key)).

    Each round is invertible whatever the function `mixed` is, so that the whole is a permutation.
    """
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return (left << half) | right


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64 bits: the finalizer of splitmix64 (Steele, Lea and Flood, 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
