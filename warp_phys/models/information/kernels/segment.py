"""The information recurrence over a segment of samples by compiled code."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import fields, replace
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from warp_phys.models.information.innovations import LEAST_FREEDOM, improbable_score
from warp_phys.models.information.kernels.library import library
from warp_phys.models.information.prior.prior import USUAL_LEVEL
from warp_phys.models.information.running import Recurrence
from warp_phys.models.information.state import Running
from warp_phys.systems.dynamics.stepping.structures import address, doubles, integers, pointers


class _Kind(IntEnum):
    """As in `segment.cpp`."""

    EACH = 0
    COMMON = 1
    KNOWN = 2


# Layouts of the C++ structures of the same names in `segment.cpp`.
class _Segment(ctypes.Structure):
    _fields_ = [
        *integers("length", "first", "last", "marked", "kind", "fewest"),
        *doubles("usual_level", "farthest", "least_freedom"),
        *pointers("level", "spread", "threshold", "residual", "jacobian", "size"),
    ]


class _State(ctypes.Structure):
    _fields_ = [
        *pointers("point", "base_mean", "base_precision", "base_squares", "base_count"),
        *pointers("hessian", "gradient", "sum", "count"),
        *pointers("delta", "covariance", "squares", "log_level", "freedom", "decrement"),
        *pointers("size", "corrected", "precision", "shift", "excess"),
        *pointers("past_squares", "past_count", "past_level", "past_freedom"),
        *pointers("tested", "suspect", "alarm", "since"),
    ]


class _Known(ctypes.Structure):
    _fields_ = pointers(
        "mean", "covariance", "freedom", "log_level", "level_freedom", "moved", "described"
    )


class SegmentKernel:
    """The recurrence over segments of the samples of N records by compiled code.

    Args:
        compiled: What `library_for` returned.
        recurrence: The recurrence.
        known: Arrays that are written, among them those of `_Known`.
        linear: Residuals (N, T, O) and sensitivities (N, T, O, D), which may change between calls.
        size: (N, T, O), the reference sizes of the observed values.
        stale: Squared length of a step, in standard deviations for each unknown, at which a
            linearization is in doubt.
    """

    def __init__(
        self,
        compiled: ctypes.CDLL,
        recurrence: Recurrence,
        known: Mapping[str, Tensor],
        linear: tuple[Tensor, Tensor],
        size: Tensor,
        stale: float,
    ) -> None:
        self.compiled = compiled
        self.recurrence, self.known = recurrence, known
        self.linear, self.size = linear, size.contiguous()
        prior = recurrence.prior
        self.farthest = stale * len(prior.mean)
        self.level, self.spread = prior.level.contiguous(), prior.level_spread.contiguous()
        # A record of T samples is tested T times at most.
        self.threshold = improbable_score(torch.arange(size.shape[1] + 1), size.shape[2])

    def walk(
        self, state: Running, rows: Tensor, samples: tuple[int, int], *, marked: bool
    ) -> Tensor:
        """Advance records (n,), in place; return the samples (n,) at which they came into doubt.

        Args:
            state: The state before, from `owned`; that of these records becomes the state after.
            rows: (n,), the records.
            samples: The first sample, and the end of the segment, which is also returned for
                records that are not in doubt.
            marked: Whether a mark follows the last sample.
        """
        stop = torch.empty(len(rows), dtype=torch.int64)
        arrays = _arrays(state)
        self._call("walk", rows, rows, samples, arrays, ctypes.c_void_p(stop.data_ptr()), marked)
        return stop

    def sum_up(self, state: Running, rows: Tensor, samples: int, rounds: int) -> Running:
        """Return a state of records (n,) with new sums over samples that it contains already.

        Args:
            state: The state of these records, with its new point and base.
            rows: (n,), the records.
            samples: How many samples.
            rounds: Alternations of estimate and noise level.
        """
        changed = {name: owned(getattr(state, name)) for name in ("base", "sums", "belief")}
        new = replace(state, point=state.point.contiguous(), size=state.size.clone(), **changed)
        places = torch.arange(len(rows))
        self._call("sum_up", rows, places, (0, samples), _arrays(new), ctypes.c_int64(rounds))
        return new

    def write(self, state: Running, rows: Tensor, sample: int) -> None:
        """Write what is known of records (n,), whose state it is, after a sample."""
        arrays = [array.contiguous() for array in _arrays(state)]
        places = torch.arange(len(rows))
        self._call("write", rows, places, (sample, sample + 1), arrays, ctypes.c_int64(0))

    def _call(
        self,
        name: str,
        rows: Tensor,
        places: Tensor,
        samples: tuple[int, int],
        arrays: list[Tensor],
        last: ctypes.c_int64 | ctypes.c_void_p,
        marked: bool = False,
    ) -> None:
        held = [self.level, self.spread, self.threshold, *self.linear, self.size]
        segment = _Segment(
            self.size.shape[1],
            *samples,
            int(marked),
            _Kind[self.recurrence.kind.upper()],
            self.recurrence.fewest,
            USUAL_LEVEL,
            self.farthest,
            LEAST_FREEDOM,
            *map(address, held),
        )
        self.compiled[f"segment_{name}"](
            ctypes.c_int64(len(rows)),
            ctypes.c_void_p(rows.data_ptr()),
            ctypes.c_void_p(places.data_ptr()),
            ctypes.byref(segment),
            ctypes.byref(_State(*map(address, arrays))),
            ctypes.byref(_Known(*(address(self.known[name]) for name, _ in _Known._fields_))),
            ctypes.c_int64(torch.get_num_threads()),
            last,
        )


def library_for(recurrence: Recurrence, outputs: int) -> ctypes.CDLL | None:
    """Return the library for a recurrence, or None without a compiler or with a robust loss."""
    if not recurrence.noise.is_squared:
        return None
    return library(len(recurrence.prior.mean), outputs, "layout", "belief", "segment")


def owned(part: Any) -> Any:
    """Return a copy of a state, or of a part of one, whose arrays can be changed in place."""
    if isinstance(part, Tensor):
        return part.clone(memory_format=torch.contiguous_format)
    return replace(part, **{f.name: owned(getattr(part, f.name)) for f in fields(part)})


def put(part: Any, rows: Tensor, found: Any) -> None:
    """Write the state of some records (n,), or a part of it, into an owned one."""
    for field in fields(part):
        mine, theirs = getattr(part, field.name), getattr(found, field.name)
        if isinstance(mine, Tensor):
            # Parts that did not change may be the same array.
            mine[rows] = theirs.clone() if theirs.data_ptr() == mine.data_ptr() else theirs
        else:
            put(mine, rows, theirs)


def _arrays(state: Running) -> list[Tensor]:
    """Return the arrays of a state in the order of `_State`."""
    base, sums, belief = state.base, state.sums, state.belief
    correction, past = state.correction, state.innovations
    return [
        *(state.point, base.mean, base.precision, base.squares, base.count),
        *(sums.hessian, sums.gradient, sums.squares, sums.count),
        *(belief.delta, belief.covariance, belief.squares, belief.log_level, belief.freedom),
        *(belief.decrement, state.size),
        *(correction.active, correction.precision, correction.shift, correction.excess),
        *(past.squares, past.count, past.log_level, past.freedom),
        *(past.tested, past.suspect, past.alarm, past.since),
    ]
