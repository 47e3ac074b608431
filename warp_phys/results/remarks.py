"""Remarks about the estimate of a trajectory, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from warp_phys.fitting.result.read import flags
from warp_phys.results.estimated import at_last
from warp_phys.results.summary.numbers import with_unit

# Bits of `out_of_range` that other variables say better: the sample from which on a record is not
# described, that residuals are alike, and that the record could not be integrated.
_NOT_NOISE, _NOT_INTEGRATED = 32, 64
_STATUS_ALIKE, _STATUS_NOT_INTEGRATED = 8, 1


@dataclass(frozen=True)
class Remarks:
    """The remarks about one trajectory at its last sample.

    Attributes:
        changed_at: Time of the first sample that the model does not describe; NaN if it describes
            all of them.
        status: Meanings of the bits of `estimate_status`.
        out_of_range: Meanings of the bits of `out_of_range`.
    """

    changed_at: float
    status: tuple[str, ...]
    out_of_range: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether the model stops describing the record at some sample."""
        return bool(np.isfinite(self.changed_at))

    def __bool__(self) -> bool:
        """Whether there is any remark."""
        return self.changed or bool(self.status or self.out_of_range)


def remarks_of(estimate: xr.Dataset, position: int) -> Remarks:
    """Return the remarks about one trajectory of an estimate."""
    return all_remarks(estimate.isel(trajectory=[position]))[0]


def all_remarks(estimate: xr.Dataset) -> list[Remarks]:
    """Return the remarks about each trajectory of an estimate."""
    count = estimate.sizes["trajectory"]
    changed_at = np.full(count, np.nan)
    status, outside = np.zeros((2, count), dtype=np.int64)
    if "changed_at" in estimate:
        changed_at = np.asarray(estimate["changed_at"].values, dtype=np.float64)
    if "estimate_status" in estimate:
        status = at_last(estimate, "estimate_status").astype(np.int64)
    if "out_of_range" in estimate:
        outside = estimate["out_of_range"].values.astype(np.int64)
    explained = np.isfinite(changed_at) | (status & _STATUS_ALIKE != 0)
    outside = np.where(explained, outside & ~_NOT_NOISE, outside)
    outside = np.where(status & _STATUS_NOT_INTEGRATED, outside & ~_NOT_INTEGRATED, outside)
    columns = (
        _words(estimate, "estimate_status", status),
        _words(estimate, "out_of_range", outside),
    )
    return [Remarks(*row) for row in zip(changed_at.tolist(), *columns, strict=True)]


def changed_words(estimate: xr.Dataset, changed_at: float) -> str:
    """Return from which time on the model no longer describes a record."""
    unit = str(estimate["time"].attrs.get("units", ""))
    return f"the model no longer describes the record from {with_unit(f'{changed_at:g}', unit)} on"


def note_of(remarks: Remarks) -> str:
    """Return the remarks about a trajectory, without the change, in a line each."""
    return "\n".join(
        [*remarks.status, *(f"out of range: {words}" for words in remarks.out_of_range)]
    )


def _words(estimate: xr.Dataset, variable: str, bits: NDArray[np.int64]) -> list[tuple[str, ...]]:
    """Return the meanings of the bits (N,) of each trajectory."""
    if not bits.any():
        return [()] * len(bits)
    meanings = flags(estimate[variable])
    return [tuple(words for bit, words in meanings.items() if row & bit) for row in bits.tolist()]
