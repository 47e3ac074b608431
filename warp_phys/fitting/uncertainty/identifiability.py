"""Sentences that say which unknowns, or combinations of them, the data do not determine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from warp_phys.likelihood.unknown import Unknown

# Entries of a direction below this share of its largest entry count as zero.
_NONE = 0.02
# Exponents this close to a multiple of a quarter are rounded to it.
_NEAR = 0.01


def undetermined_words(entries: Sequence[Unknown], directions: Tensor, frozen: Tensor) -> list[str]:
    """Return a sentence for each trajectory, empty where everything is determined.

    Args:
        entries: The D unknowns.
        directions: (N, D, D), undetermined directions as columns, the other columns zero;
            positive unknowns by their logarithms.
        frozen: (N, D), unknowns at the end of their support.
    """
    table, held = directions.numpy(), frozen.numpy()
    words = [""] * len(table)
    busy = np.flatnonzero(table.any(axis=(1, 2)) | held.any(axis=1))
    for row in busy.tolist():
        found = [
            f"{entry.label} is at the end of its support"
            for entry, at_end in zip(entries, held[row], strict=True)
            if at_end
        ]
        columns = table[row][:, table[row].any(axis=0)]
        found += [_direction_words(entries, vector) for vector in _reduced(columns)]
        words[row] = "; ".join(found)
    return words


def _reduced(columns: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return a basis of the same directions in which each has an unknown of its own.

    This is Gauss-Jordan elimination: eigenvectors of a degenerate eigenvalue are an arbitrary
    rotation of one another, and would mix unrelated unknowns into one sentence.
    """
    rows = columns.T.copy()
    for place in range(len(rows)):
        # The pivot is the first entry of at least half the largest one: large, for a stable
        # elimination, and in the order of declaration, so that sentences start from the first
        # unknown.
        strong = np.abs(rows[place]) > 0.5 * np.abs(rows[place]).max()
        pivot = int(np.flatnonzero(strong)[0])
        rows[place] /= rows[place, pivot]
        for other in range(len(rows)):
            if other != place:
                rows[other] -= rows[other, pivot] * rows[place]
    return [np.where(np.abs(row) > _NONE * np.abs(row).max(), row, 0.0) for row in rows]


def _direction_words(entries: Sequence[Unknown], vector: NDArray[np.float64]) -> str:
    parts = np.flatnonzero(vector).tolist()
    names = [entries[part].label for part in parts]
    if len(parts) == 1:
        return f"{names[0]} is not determined"
    if not all(entries[part].logarithmic for part in parts):
        # Changes of real unknowns, or mixed ones, have no product that stays constant: they are
        # listed as a linear combination.
        steps = ", ".join(f"{vector[part]:+.3g} in {entries[part].label}" for part in parts)
        return f"{_listed(names)} are not determined: {steps} together change nothing"
    base = parts[0]
    # Along the direction v, log theta_k changes by v_k and log theta_b by v_b, so that theta_k /
    # theta_b^(v_k / v_b) is constant, and determined.
    combinations = [
        _combination(entries[part].label, entries[base].label, vector[part] / vector[base])
        for part in parts[1:]
    ]
    verb = "is" if len(combinations) == 1 else "are"
    return f"{_listed(names)} are not determined, only {_listed(combinations)} {verb}"


def _combination(name: str, base: str, power: float) -> str:
    """Return what stays the same when `base` grows by a factor and `name` by its power."""
    quarters = round(4.0 * power) / 4.0
    power = quarters if abs(power - quarters) < _NEAR else power
    exponent = "" if abs(power) == 1.0 else f"^{abs(power):.3g}"
    return f"{name}/{base}{exponent}" if power > 0.0 else f"{name}*{base}{exponent}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
