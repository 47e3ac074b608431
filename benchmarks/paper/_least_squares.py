"""Maximum likelihood on each context by itself, then physics: a control that learns nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import xarray as xr

import warp_phys as wp
from benchmarks.paper._models import Budget, Forecast
from benchmarks.paper._physics import (
    context_data,
    failed_records,
    held_system,
    named,
    physics_outputs,
    scaled_to_mass,
)
from benchmarks.paper._tasks import Split, Task

Start = Callable[[Split], xr.Dataset]
"""Returns where to start the fits of a split, as `warp_phys.estimate` does."""


class LeastSquares:
    """`warp_phys.fit` of parameters and initial state to each context, then the physical flow.

    The mass of an oscillator is held in the middle of its range.

    Args:
        start: What gives the starts (`warp_phys.estimate` with a trained model, say), read within
            the context alone; the default starts of `fit` where None.
        noise: Whether the level of noise is "known" to the fit or one unknown level for "each"
            output.
    """

    def __init__(
        self, start: Start | None = None, *, noise: Literal["each", "known"] = "each"
    ) -> None:
        self.start = start
        self.noise = noise

    def fit(self, task: Task, budget: Budget) -> float:  # noqa: ARG002  # learns nothing
        """Do nothing."""
        return math.inf

    def forecast(self, task: Task, split: Split) -> Forecast:
        """Fit every context and follow the fitted physics over all times."""
        fitted = self.fitted(task, split)
        parameters = fitted["parameters"].values
        outputs = physics_outputs(task, split, parameters, fitted["initial_state"].values)
        failed = failed_records(split, outputs)
        outputs[failed] = np.nan
        return Forecast(outputs, named(task, parameters), int(failed.sum()))

    def fitted(self, task: Task, split: Split) -> xr.Dataset:
        """Return what `warp_phys.fit` finds in the contexts."""
        return wp.fit(
            held_system(task),
            context_data(split, cycle=task.cycle_gap is not None),
            initial=None if self.start is None else _scaled(task, self.start(split)),
            noise_sd=split.data["true_noise_sd"].values if self.noise == "known" else "each",
            progress=False,
        )

    def count(self) -> int:
        """Return 0: nothing is trained."""
        return 0


def _scaled(task: Task, start: xr.Dataset) -> xr.Dataset:
    """Return the start with the mass that the fit holds."""
    return start.assign(parameters=scaled_to_mass(task, start["parameters"]))
