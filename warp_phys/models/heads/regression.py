"""The regression head: recursive least squares on the weak form; nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from warp_phys.models.coordinates import Physical
from warp_phys.models.estimator import Estimates, Estimator, StreamEstimate
from warp_phys.models.heads.head import Head
from warp_phys.models.regression.memory import RegressionMemory
from warp_phys.models.regression.weak_form_regression import WeakFormRegression
from warp_phys.models.roots import FLOW, predict
from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.labels import named_coords


class Regression(Head):
    """The hidden state holds the running sums of least squares; see `WeakFormRegression`.

    Args:
        drive: "difference", or "log_difference" for the states whose support is positive.
        forgetting: Weight of a sample against the next, 1 for plain least squares.
    """

    name = "regression"
    options = ("drive", "forgetting")
    trains = False
    drives: ClassVar[tuple[str, ...]] = ("difference", "log_difference")
    default_drive = "difference"

    def __init__(self, *, drive: str = "difference", forgetting: float = 1.0) -> None:
        self.logarithms = drive == "log_difference"
        self.forgetting = forgetting

    def check(self, system: System) -> None:
        """Raise UsageError unless the right-hand side is affine and every state observed."""
        if system.events:
            raise UsageError(
                "the regression head integrates the right-hand side from sample to sample, and "
                f"the events of {system.name} change its states besides; use head='information' "
                "or fit(system, data)"
            )
        if system.affine_form is None:
            raise UsageError(
                "the regression head needs a right-hand side that is affine in coordinates of the "
                f"parameters; that of {system.name} is not: declare its linear_form, or use "
                "head='direct'"
            )
        if not system.observes_all_states:
            raise UsageError(
                f"the regression head needs every state observed, {system.name} observes "
                f"{', '.join(system.output_names)}; use head='direct'"
            )
        if self.logarithms and "positive" not in [state.support for state in system.states]:
            raise UsageError(
                f"drive='log_difference' needs a state that is positive by nature, and none of "
                f"{system.name} is declared so; use drive='difference'"
            )

    def estimator(self, system: System, trained: Callable[[], Estimator]) -> Estimator:  # noqa: ARG002 (Head's own)
        """Return the regression of a system."""
        return RegressionEstimator(
            WeakFormRegression(system, self.forgetting, logarithms=self.logarithms)
        )


class RegressionEstimator:
    """Parameters by regression, at every sample of records and of sensors."""

    forcing = False

    def __init__(self, regression: WeakFormRegression) -> None:
        self.regression = regression
        self.outputs = regression.system.output_names

    def estimate(self, records: Records, level: float, *, show: bool) -> Estimates:  # noqa: ARG002 (the protocol's own)
        """Estimate for whole records; there are no bands."""
        regression = self.regression
        records = regression.readable(records)
        coordinates = regression.estimate(records)
        parameters = regression.parameters(coordinates)
        start, first = _first_states(records)
        values = {"parameters": parameters, "initial_state": start, "coordinates": coordinates}
        unknowns = Physical(parameters, start, records.observed[..., :0])
        if parameters.isfinite().any():
            values["predicted"] = predict(regression.system, "step", records, unknowns, **FLOW)
        for array in values.values():
            # Padding repeats the last estimate until here.
            array[~records.valid] = torch.nan
        # The initial state is that of the first complete sample, which need not be the first one.
        values["initial_time"] = records.times[torch.arange(len(records)), first]
        coords = named_coords("coordinate", regression.names, regression.units)
        return Estimates(values, coords=coords, rtol=FLOW["rtol"])

    def start(self, sensors: int, dtype: torch.dtype) -> RegressionMemory:
        """Return the memory of sensors before their first sample."""
        if dtype != torch.float64:
            raise UsageError(
                f"expected dtype=torch.float64 for the regression head, whose sums need its "
                f"digits, got {dtype}"
            )
        return self.regression.start(sensors)

    def step(
        self, memory: RegressionMemory, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[RegressionMemory, StreamEstimate]:
        """Process one sample of every sensor."""
        after, coordinates = self.regression.step(memory, times, observed, inputs)
        parameters = self.regression.parameters(coordinates)
        unknown = torch.full_like(parameters, torch.nan)
        return after, StreamEstimate(parameters, unknown, unknown, after.first)


def _first_states(records: Records) -> tuple[Tensor, Tensor]:
    """Return the first complete sample, (N, T, S), NaN before it, and its number (N,)."""
    complete = records.seen.all(dim=-1)
    first = complete.long().argmax(dim=1)
    # `argmax` returns the first of equal maxima; without a complete sample all is NaN below.
    start = records.observed[torch.arange(len(records)), first]
    known = complete.cummax(dim=1).values
    return torch.where(known.unsqueeze(-1), start.unsqueeze(1), torch.nan), first
