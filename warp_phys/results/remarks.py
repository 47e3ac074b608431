"""What is to be minded about the estimate of a trajectory, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from warp_phys.fitting.result.read import flags
from warp_phys.results.estimated import last_sample
from warp_phys.results.summary.numbers import with_unit

# Bits of `out_of_range` that other variables say better: the sample from which on a record is not
# described, and that it could not be integrated.
_NOT_NOISE, _NOT_INTEGRATED = 32, 64
_STATUS_NOT_INTEGRATED = 1


@dataclass(frozen=True)
class Remarks:
    """What is to be minded about one trajectory at its last sample.

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
        """Whether there is anything to be minded."""
        return self.changed or bool(self.status or self.out_of_range)


def remarks_of(estimate: xr.Dataset, position: int) -> Remarks:
    """Return what is to be minded about one trajectory of an estimate."""
    changed_at = np.nan
    if "changed_at" in estimate:
        changed_at = float(estimate["changed_at"].values[position])
    status = 0
    if "estimate_status" in estimate:
        status = int(estimate["estimate_status"].values[position, last_sample(estimate, position)])
    outside = 0
    if "out_of_range" in estimate:
        outside = int(estimate["out_of_range"].values[position])
    if np.isfinite(changed_at):
        outside &= ~_NOT_NOISE
    if status & _STATUS_NOT_INTEGRATED:
        outside &= ~_NOT_INTEGRATED
    return Remarks(
        changed_at,
        _words(estimate, "estimate_status", status),
        _words(estimate, "out_of_range", outside),
    )


def changed_words(estimate: xr.Dataset, changed_at: float) -> str:
    """Return from which time on the model no longer describes a record."""
    unit = str(estimate["time"].attrs.get("units", ""))
    return f"the model no longer describes the record from {with_unit(f'{changed_at:g}', unit)} on"


def note_of(remarks: Remarks) -> str:
    """Return the remarks about a trajectory, without the change, in a line each."""
    return "\n".join(
        [*remarks.status, *(f"out of range: {words}" for words in remarks.out_of_range)]
    )


def _words(estimate: xr.Dataset, variable: str, bits: Any) -> tuple[str, ...]:
    if not bits:
        return ()
    return tuple(words for bit, words in flags(estimate[variable]).items() if bits & bit)
