"""WARP-Phys, and the read-out control, as the package trains them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import warp_phys as wp
from benchmarks.paper._least_squares import LeastSquares
from benchmarks.paper._models import Budget, Forecast
from benchmarks.paper._physics import (
    context_data,
    flow_outputs,
    held_system,
    named,
    physics_outputs,
    scaled_to_mass,
)
from benchmarks.paper._tasks import Floats, Split, Task

Root = Literal["first_sample", "last_sample", "fit"]


class WarpPhys:
    """The package's `WarpPhys` on the system in its identifiable form.

    The mass of an oscillator is held, as for the controls, for only ratios to it can be told.

    Args:
        head: "information", "direct", "weights", "regression", or the control "readout".
        root: Where the physics runs on from: the estimated initial state at the first sample; the
            observed state at the last sample of the context; or what `fit` makes of the context,
            started at the estimate.
        settings: Of `wp.WarpPhys`.
    """

    def __init__(self, head: str, root: Root = "first_sample", **settings: Any) -> None:
        self.head, self.root, self.settings = head, root, settings
        self.model: wp.WarpPhys | None = None

    def fit(self, task: Task, budget: Budget) -> float:
        """Train on the contexts and the true parameters behind them; regression needs none.

        The information head takes the moments of these true values as its prior, without steps.
        """
        self.model = wp.WarpPhys(held_system(task), self.head, **self.settings)
        if self.head == "regression":
            return float("inf")
        if self.head == "information":
            wp.train(self.model, contexts(task, task.train))
            return float("inf")
        history = wp.train(
            self.model,
            contexts(task, task.train),
            contexts(task, task.validation),
            steps=budget.steps,
            batch_size=budget.batch_size,
            learning_rate=budget.learning_rate,
            seed=budget.seed,
            patience=None,
            progress=False,
        )
        return float(history["validation_loss"].min())

    def estimate(self, task: Task, split: Split) -> xr.Dataset:
        """Return the package's estimates at every sample of the contexts."""
        assert self.model is not None
        return wp.estimate(
            self.model, context_data(split, cycle=task.cycle_gap is not None), progress=False
        )

    def forecast(self, task: Task, split: Split) -> Forecast:
        """Run the physics on from the parameters at the end of each context."""
        if self.root == "fit":
            return LeastSquares(lambda given: self.estimate(task, given)).forecast(task, split)
        found = self.estimate(task, split)
        rows, last = np.arange(len(split)), known_samples(task, split) - 1
        parameters = _supported(task, found["parameters"].values[rows, last])
        if self.root == "first_sample":
            states = found["initial_state"].values
            initial = states[rows, last] if states.ndim == 3 else states
            outputs = physics_outputs(task, split, parameters, initial)
        else:
            outputs = _from_last_sample(task, split, parameters)
        lost = ~np.isfinite(outputs).all(axis=(1, 2))
        return Forecast(outputs, named(task, parameters), int(lost.sum()))

    def count(self) -> int:
        """Return the number of trained numbers."""
        if self.model is None or self.model.network is None:
            return 0
        return sum(parameter.numel() for parameter in self.model.network.parameters())


def contexts(task: Task, split: Split) -> xr.Dataset:
    """Return the contexts with the true parameters of the identifiable form."""
    data = context_data(split, cycle=task.cycle_gap is not None)
    return (
        split.data.drop_vars(["noiseless"])
        .isel(time=slice(data.sizes["time"]))
        .assign(
            observed=data["observed"],
            true_parameters=scaled_to_mass(task, split.data["true_parameters"]),
        )
    )


def known_samples(task: Task, split: Split) -> NDArray[np.int64]:
    """Return how many samples of the trajectory itself each record shows, (N,)."""
    return split.context - 1 if task.cycle_gap is not None else split.context


def _supported(task: Task, parameters: Floats) -> Floats:
    """Return parameters (N, P), records with one outside its support as NaN: regression may."""
    inside = np.ones(len(parameters), dtype=bool)
    for parameter, column in zip(task.system.parameters, parameters.T, strict=True):
        inside &= column > 0.0 if parameter.support == "positive" else np.isfinite(column)
    return np.where(inside[:, None], parameters, np.nan)


def _from_last_sample(task: Task, split: Split, parameters: Floats) -> Floats:
    """Return outputs from the last observed state on; what lies before is as observed."""
    outputs = split.sequence.copy()
    for count in np.unique(split.context):
        rows = np.flatnonzero(split.context == count)
        initial = split.sequence[rows, count - 1]
        times = split.times[count - 1 :]
        outputs[rows, count - 1 :] = flow_outputs(task.system, times, parameters[rows], initial)
    return outputs
