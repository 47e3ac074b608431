"""Trajectories as plain arrays, the result of every file reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from warp_phys.systems.errors import UsageError, unknown_name


@dataclass(frozen=True)
class Series:
    """Trajectories read from a file.

    Attributes:
        names: Names of the O outputs.
        times: (T,) where all share their times, otherwise (N, T) padded with NaN.
        values: (N, T, O), NaN where missing.
        labels: One label for each trajectory, (N,).
        units: Units stated in the file, by name of output and for "time".
    """

    names: list[str]
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    labels: NDArray[Any]
    units: Mapping[str, str] = field(default_factory=dict)


def arrange(
    names: list[str],
    labels: NDArray[Any],
    codes: NDArray[np.intp],
    times: NDArray[np.float64],
    values: NDArray[np.float64],
) -> Series:
    """Return the trajectories of a long table.

    Args:
        names: Names of the O outputs.
        labels: One label for each trajectory, (N,).
        codes: The number of the trajectory that each of R rows belongs to, (R,).
        times: The rows' times, (R,), in order within each trajectory.
        values: The rows' values, (R, O).
    """
    counts = np.bincount(codes, minlength=len(labels))
    order = np.argsort(codes, kind="stable")
    rows = codes[order]
    # The position of each row within its trajectory: its place in the sorted table less the place
    # at which its trajectory begins.
    columns = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(labels), int(counts.max()))
    own = np.full(shape, np.nan)
    own[rows, columns] = times[order]
    padded = np.full((*shape, len(names)), np.nan)
    padded[rows, columns] = values[order]
    shared = bool((own == own[0]).all())
    return Series(names, own[0] if shared else own, padded, labels)


def output_names(
    columns: Sequence[str], rename: Mapping[str, str | None], file: str
) -> dict[str, str]:
    """Return names of outputs by names in the file, without those renamed to None.

    Raises:
        UnknownNameError: A name to be replaced is not in the file.
        UsageError: No output is left, or two have the same name.
    """
    for name in rename:
        if name not in columns:
            raise unknown_name(f"column of {file} to rename", name, columns)
    pairs = ((name, rename.get(name, name)) for name in columns)
    chosen = {name: output for name, output in pairs if output is not None}
    if not chosen:
        raise UsageError(f"expected at least one output beside time in {file}, got none")
    outputs = list(chosen.values())
    twice = sorted({name for name in outputs if outputs.count(name) > 1})
    if twice:
        raise UsageError(f"expected each output of {file} once, got {twice[0]!r} more than once")
    return chosen
