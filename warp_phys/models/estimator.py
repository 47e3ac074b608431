"""The interface of estimators, for whole records and for one sample of many sensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import xarray as xr
from torch import Tensor

from warp_phys.records.records import Records


@dataclass(frozen=True)
class Estimates:
    """The estimates of N records, by the names of the data schema.

    Attributes:
        values: Variables (N, T, ...), (N, ...): "parameters" at least, and "predicted".
        coords: Coordinates other than trajectories, time, parameters, states and outputs.
        settings: Settings of the estimates, for the attribute of the data set.
        attrs: Other attributes of the data set.
        rtol: Relative tolerance of the integration behind them, None without one.
    """

    values: dict[str, Tensor]
    coords: Mapping[str, xr.Variable] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    rtol: float | None = None


@dataclass(frozen=True)
class StreamEstimate:
    """The estimate after the newest sample of N sensors.

    Attributes:
        parameters: (N, P), fixed ones included.
        lower: (N, P), lower end of the 90 % band; NaN where the model has none.
        upper: (N, P), upper end.
        initial_state: (N, S) at the first sample.
        described: (N,), whether the model describes the record so far; None where the model does
            not test it.
        status: (N,), bits of `ESTIMATE_STATUS`; None where the model has none.
    """

    parameters: Tensor
    lower: Tensor
    upper: Tensor
    initial_state: Tensor
    described: Tensor | None = None
    status: Tensor | None = None


class Memory(Protocol):
    """The memory of an estimator between samples of N sensors, of constant size."""

    @property
    def shape(self) -> tuple[int, int]:
        """The number of sensors and of outputs."""

    @property
    def time(self) -> Tensor:
        """(N,), the time of the last sample."""

    def late(self, times: Tensor) -> Tensor:
        """Return which of the next times (N,) do not come after the last sample."""


class Estimator(Protocol):
    """An estimator reads records of a system and returns its unknowns at every sample.

    Trained networks and heads that need no training implement it.

    Attributes:
        outputs: Names of the outputs that it reads, in its order; None for those of the records.
        forcing: Whether it applies doses and tables of inputs, and takes records without values
            and several samples at one time.
    """

    @property
    def outputs(self) -> tuple[str, ...] | None:
        """Names of the outputs that it reads, in its order; None for those of the records."""

    @property
    def forcing(self) -> bool:
        """Whether it applies doses and tables of inputs, and takes records without values."""

    def estimate(self, records: Records, level: float, *, show: bool) -> Estimates:
        """Estimate for whole records, at every sample from the samples so far.

        Args:
            records: N records of `outputs`; estimates after each last sample must be NaN.
            level: Probability inside the band of each unknown.
            show: Whether to show a progress bar on long work.
        """

    def start(self, sensors: int, dtype: torch.dtype) -> Memory:
        """Return the memory of sensors before their first sample."""

    def step(
        self, memory: Any, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[Memory, StreamEstimate]:
        """Process one sample of every sensor, and estimate as for the record so far.

        Args:
            memory: From `start` or the last step; it is left as it is.
            times: (N,).
            observed: (N, O), NaN where missing.
            inputs: (N, I).
        """
