"""Training of A, B, theta_0, drive and head by stochastic gradient descent on many records."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from warp_phys.models.heads.information import Information
from warp_phys.models.warp import Warp
from warp_phys.models.warp_phys import WarpPhys
from warp_phys.systems.errors import UsageError
from warp_phys.systems.schema.labels import stamp
from warp_phys.training.checkpoint import Progress
from warp_phys.training.data import split
from warp_phys.training.moments import moments_of
from warp_phys.training.optimize import optimize
from warp_phys.training.physics_task import PhysicsTask
from warp_phys.training.schedule import Schedule
from warp_phys.training.warp_task import WarpTask


def train(
    model: WarpPhys | Warp,
    data: xr.Dataset,
    validation: xr.Dataset | None = None,
    *,
    loss: str = "auto",
    steps: int = 6000,
    batch_size: int = 128,
    learning_rate: float = 4e-3,
    seed: int = 0,
    time_budget: float | None = None,
    patience: int | None = 10,
    context: int | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Train a model on many records, keeping the weights of the lowest validation loss.

    A model with the information head has no weights: it takes the moments of the true values as its
    prior. The arguments of the optimizer are refused then.

    Failed simulations (status not 0) are left out and counted. Bands are calibrated on the
    validation data at the end, so a test of the model needs other records.

    Args:
        model: The model, trained in place; what it learned before is discarded.
        data: Records, from `simulate` or measured.
        validation: Records kept out of training; None keeps a tenth of `data`, at most 4000, or
            up to a quarter of few records.
        loss: "supervised": likelihood of `true_parameters`. "reconstruction": squared error of
            the predicted outputs, as in the paper; gives no bands. "both": their sum. "auto":
            supervised where the truth is known. Not for `Warp`, which has no unknowns.
        steps: Optimizer steps.
        batch_size: Records per step.
        learning_rate: Its maximum; the paper uses 1e-5 for the dense weights head.
        seed: Seed for the first weights and the order of the records. The same seed, data and
            number of threads give the same bits, unless a time budget ends training.
        time_budget: Seconds after which training ends with the best weights so far.
        patience: Evaluations (25 in a full run) without improvement after which training ends.
        context: For `Warp`: train only forecasts from theta after this many samples; a number,
            or the name of the data sets' variable (trajectory,) that holds it. None: from every
            sample on, and for the next sample.
        checkpoint: A .safetensors file, rewritten at every evaluation; where it exists already,
            training continues from it and ends as if it had not been interrupted.
        progress: Show a progress bar.

    Returns:
        History: `training_loss` and `validation_loss` over `step`, and the seconds since the start.
        For the information head, `prior_mean` and `prior_sd` of every unknown in its unconstrained
        coordinate.

    Raises:
        UsageError: The data cannot be used for training; the message says why.
        SchemaError: The checkpoint belongs to another run.

    Example:
        >>> from warp_phys import WarpPhys
        >>> from warp_phys.data_gen import simulate
        >>> model = WarpPhys("sine", head="direct", window=4, width=16)
        >>> data = simulate("sine", n=400, times=[0.0, 0.1, 0.2, 0.3], noise=0.05, seed=1)
        >>> history = train(model, data, steps=50, progress=False)
        >>> history.sizes["step"] > 0
        True
    """
    if isinstance(model, WarpPhys) and isinstance(model.choices.head, Information):
        _check_unused(locals())
        return _learn_prior(model, model.choices.head, data)
    schedule = Schedule(
        loss, steps, batch_size, learning_rate, seed, time_budget, patience, context
    )
    schedule.check()
    try:
        task = _task(model, data, validation, schedule)
        done = optimize(task, schedule, checkpoint, show=progress)
        task.network.for_inference()
        task.finish()
    except BaseException:
        # A model must not count as trained after training was interrupted.
        model.discard()
        raise
    return _history(done, schedule, model, task)


def _check_unused(arguments: Mapping[str, Any]) -> None:
    """Raise UsageError where an argument would have no effect: it differs from its default."""
    for name, parameter in inspect.signature(train).parameters.items():
        default, given = parameter.default, arguments[name]
        if default is inspect.Parameter.empty or name in ("seed", "progress"):
            continue
        if given is not default and given != default:
            raise UsageError(
                f"expected no {name} with head='information', which only takes the moments of "
                f"the data set, got {name}={given!r}; leave it out"
            )


def _learn_prior(model: WarpPhys, head: Information, data: xr.Dataset) -> xr.Dataset:
    moments, training = moments_of(data, model.system)
    head.learn(moments)
    model.discard()
    names: Any = np.array(moments.labels, dtype=str)
    spread = moments.covariance.diagonal().sqrt()
    history = xr.Dataset(
        {
            "prior_mean": ("unknown", moments.mean.numpy(), {"long_name": "mean of the prior"}),
            "prior_sd": (
                "unknown",
                spread.numpy(),
                {"long_name": "standard deviation of the prior"},
            ),
        },
        coords={"unknown": ("unknown", names, {"long_name": "unknown"})},
    )
    settings = {
        "model": repr(model),
        "training_records": moments.trajectories,
        "failed_records_left_out": training.left_out,
    }
    return stamp(
        history, title="prior of a model", system=model.system, settings=settings, function="train"
    )


def _task(
    model: WarpPhys | Warp, data: xr.Dataset, validation: xr.Dataset | None, schedule: Schedule
) -> PhysicsTask | WarpTask:
    if validation is None:
        data, validation = split(data, schedule.seed)
    if isinstance(model, Warp):
        if schedule.loss != "auto":
            raise UsageError(
                f"expected no loss with Warp, which learns outputs alone, got {schedule.loss!r}; "
                "leave it out"
            )
        return WarpTask(model, data, validation, schedule.seed, schedule.context)
    if schedule.context is not None:
        raise UsageError("context is of Warp; a WarpPhys model learns from every sample")
    return PhysicsTask(model, data, validation, schedule.loss, schedule.seed)


def _history(
    done: Progress, schedule: Schedule, model: WarpPhys | Warp, task: PhysicsTask | WarpTask
) -> xr.Dataset:
    rows = np.array(done.history)
    names = ("seconds", "training_loss", "validation_loss")
    units = {"seconds": "s", "training_loss": "1", "validation_loss": "1"}
    dataset = xr.Dataset(
        {
            name: (
                "step",
                rows[:, column + 1],
                {"long_name": name.replace("_", " "), "units": units[name]},
            )
            for column, name in enumerate(names)
        },
        coords={"step": ("step", rows[:, 0].astype(np.int64), {"long_name": "optimizer step"})},
    )
    settings = vars(schedule) | {
        "model": repr(model),
        "best_step": done.best_step,
        "skipped_steps": done.skipped,
        "training_records": task.count,
        "failed_records_left_out": task.left_out,
    }
    return stamp(
        dataset,
        title="training history",
        system=model.system if isinstance(model, WarpPhys) else None,
        settings=settings,
        seed=schedule.seed,
        function="train",
    )
